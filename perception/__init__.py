"""Frozen networks that judge pictures: perceptual distance, Frechet distance; shared by training and evaluation."""
