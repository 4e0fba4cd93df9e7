"""Tokenizers that ship with the package, and how a tokenizer is found by its name."""
