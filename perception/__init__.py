"""Frozen networks that judge images: perceptual distance, Frechet distance; shared by training and evaluation."""
