"""How good a tokenizer is: image metrics, codebook usage, and figures that need a frozen network."""
