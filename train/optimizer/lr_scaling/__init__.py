"""How the learning rate follows the batch size."""
