"""Packed sequences back to images and captions."""
