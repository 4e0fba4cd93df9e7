"""A tokenizer on disk: config.json, model.safetensors, README.md, and its fingerprint."""
