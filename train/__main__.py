"""`python -m vistok.train CONFIG [section.key=value ...]`, for `accelerate launch`."""

from ..cli.launch import train_tokenizer

train_tokenizer()
