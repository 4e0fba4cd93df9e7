"""`python -m vistok.train CONFIG [section.key=value ...]`, for `accelerate launch`."""

from ..launch import train_tokenizer

train_tokenizer()
