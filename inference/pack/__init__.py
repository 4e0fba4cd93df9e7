"""Token shards with captions to packed training sequences."""
