"""Arithmetic that does not depend on the caller's settings, on neighbours in a batch, or on the number of threads."""
