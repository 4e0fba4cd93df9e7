"""How learnable tokens are: the bits that a small autoregressive transformer of fixed recipe needs on held-out images."""
