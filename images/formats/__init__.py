"""Formats of image files: each file is inspected, and cleaned of what could mislead its decoder, before it is decoded."""
