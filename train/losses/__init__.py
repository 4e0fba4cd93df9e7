"""Loss terms by name, and the discriminator with its training."""
