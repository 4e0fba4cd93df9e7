"""Fine-tuning a tokenizer folder: swap or grow its quantizer, adapt its decoder, or train all of it further."""
