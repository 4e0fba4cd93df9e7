"""Training of extra decoders: flow matching, and its distillation to one step."""
