"""Quantizers that are made of others."""
