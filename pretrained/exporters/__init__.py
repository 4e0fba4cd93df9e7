"""Exporters: tokenizers as files of other programs, one file a format."""
