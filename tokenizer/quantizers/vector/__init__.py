"""Vector quantization: a codebook, a similarity, a gradient and the losses."""
