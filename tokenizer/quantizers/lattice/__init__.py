"""Quantizers whose codes are points of a lattice, searched by their structure."""
