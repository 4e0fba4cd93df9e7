"""Fine-tuning from a tokenizer folder: swap or grow a quantizer, adapt the decoder, go on with everything."""
