"""Importers: checkpoints of public visual tokenizers to tokenizer folders, one file a family."""
