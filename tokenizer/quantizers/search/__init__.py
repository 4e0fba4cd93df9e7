"""Nearest-code search: one function for every quantizer that has a table of codes."""
