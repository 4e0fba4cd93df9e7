"""The trainer, as its loop: config, data, model, losses, optimizer, codebook, checkpoint. Only it uses accelerate."""
