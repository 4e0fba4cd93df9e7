"""Pixels to latent to tokens, and back. Needs torch alone: no launcher, no YAML, no logger, no network."""
