"""Untrusted files: tensors by name, read without running what is pickled beside them."""
