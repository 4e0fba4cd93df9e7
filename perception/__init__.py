"""Frozen pretrained networks: feature maps and perceptual distance, for training and evaluation."""
