"""Nearest-code search on a CUDA device: four kernels, none of which waits for the host.

`prepare` centres vectors and codes and splits them into bfloat16 parts. `best_groups` multiplies these on the tensor cores and
keeps the two best groups of eight codes of each vector, and the score of the third. `choose` compares the codes of the two
in float64, and lists the vectors for which rounding could have hidden a better group. `settle` searches those in float64; how
many there are, the host never learns.
"""
