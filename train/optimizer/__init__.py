"""Muon and AdamW: which parameters each takes, their steps, and their rates."""
