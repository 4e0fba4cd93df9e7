"""The trainer, in the order of its loop: config, data, model, losses, optimizer, codebook, checkpoint. It alone uses accelerate."""
