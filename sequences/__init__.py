"""Tokens of images as ids of a language model, and back."""
