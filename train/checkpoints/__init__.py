"""Checkpoints of a run: written aside, sealed, verified and read back."""
