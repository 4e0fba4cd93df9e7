"""Extra decoders of a tokenizer, which add to the plain one what the tokens left out: the table DECODERS."""
