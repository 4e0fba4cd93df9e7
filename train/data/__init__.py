"""Images to train on: which, in which order, and what happens to those that cannot be read."""
