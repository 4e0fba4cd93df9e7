"""Training images: finding them, the order they come in, crops, batches, and what happens to unreadable ones."""
