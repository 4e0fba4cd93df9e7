"""Quantizers without a table: each channel is rounded by itself."""
