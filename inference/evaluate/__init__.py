"""The quality of a tokenizer on images that users hand in."""
