"""What touches a language model's own libraries: its text tokenizer and its embedding."""
