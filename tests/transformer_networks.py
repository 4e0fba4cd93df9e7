"""Small networks with latent tokens and hybrid ones, as plain values of their configs."""

BLOCKS = {"width": 32, "layers": 2, "heads": 2}
GATED = BLOCKS | {"mlp": "gated", "expansion": 2}
LEVELS = {"channels": [32, 32, 32], "blocks": [1, 1, 1], "middle_attention": False}
LATENT_TOKENS = {
    "name": "latent_tokens",
    "image_size": 32,
    "patch": 8,
    "latent_tokens": 6,
    "latent_channels": 4,
    "quantizer_convolutions": False,
    "encoder": BLOCKS,
    "decoder": {"transformer": BLOCKS | {"width": 48}, "patch": 16},
}
SOFT_CODES = LATENT_TOKENS | {
    "mixes_latents": True,
    "pixel_values": [0, 1],
    "decoder": {
        "transformer": BLOCKS,
        "patch": 4,
        "soft_codes": {"codes": 16, "network": {"encoder": LEVELS, "decoder": LEVELS, "latent_channels": 8}},
    },
}
STAGES = {"channels": [16, 32], "blocks": [1, 2], "transformer": GATED}
HYBRID = {"name": "hybrid", "latent_channels": 8, "encoder": STAGES, "decoder": STAGES | {"channels": [8, 24]}}
ATTENDING = HYBRID | {"projection": "attention", "quantizer_convolutions": False}
FAMILIES = {"latent_tokens": LATENT_TOKENS, "soft_codes": SOFT_CODES, "hybrid": HYBRID, "attention": ATTENDING}
