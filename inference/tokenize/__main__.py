"""`python -m vistok.inference.tokenize INPUT... --out DIR`, for `accelerate launch` and `torchrun`."""

from ...cli.launch import tokenize_images

tokenize_images()
