"""Tokenizers that ship with the package, how a tokenizer is found by its name, and importers of public checkpoints."""
