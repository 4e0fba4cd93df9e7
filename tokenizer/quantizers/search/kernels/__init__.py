"""Nearest-code search on a CUDA device: four kernels, none of which waits for the host."""
