"""Measurements of gradients and updates during a run."""
