"""Config to data to model to losses to optimizer to monitor to checkpoint. The launcher (accelerate) lives here alone."""
