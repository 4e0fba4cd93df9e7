"""vistok: images to discrete tokens and back."""
