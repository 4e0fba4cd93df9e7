"""Encoders and decoders: pixels to latent and back."""
