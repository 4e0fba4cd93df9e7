"""The quantizers that the contract is tested on: every entry of the table, in the forms that differ in more than size."""

import torch

from vistok.tokenizer.quantizers import GRADIENTS

SIZE = {"dim": 6, "codebook_size": 48}
LOSSES = {"region": True, "distribution": "wasserstein", "entropy_temperature": 0.5}
TABLES = [
    {"name": name, **SIZE, "similarity": similarity}
    for name in ("vq", "ema", "simvq")
    for similarity in ("euclidean", "cosine")
]
TABLES += [{"name": "vq", **SIZE, "gradient": gradient, **LOSSES} for gradient in GRADIENTS]
TABLES += [
    {"name": "ema", **SIZE, "gradient": gradient, "entropy_temperature": 0.5}
    for gradient in GRADIENTS
    if gradient not in ("diveq", "nsvq")
]
TABLES += [
    {"name": "simvq", **SIZE, "projection": "diagonal", "bias": False},
    {"name": "simvq", **SIZE, "projection": "mlp", "trained_basis": True},
    {"name": "fvq", **SIZE, "patch": 8, "width": 16},
    {"name": "vq", **SIZE, "distribution": "mmd"},
    {"name": "vq", **SIZE, "soft": {"k": 2, "temperature": 0.5}},
]
TABLES += [{"name": name, **SIZE, "sinkhorn": {"epsilon": 0.02}} for name in ("vq", "simvq")]
DOT = [{"name": "ibq", **SIZE}, {"name": "vq", **SIZE, "similarity": "dot"}]
GUMBEL = [
    {"name": "gumbel", **SIZE},
    {"name": "gumbel", **SIZE, "temperature": 2.0, "final_temperature": 0.0625, "anneal_steps": 10},
]
SQUASHED = [
    {"name": "vq", **SIZE, "squash": "tanh"},
    {"name": "simvq", **SIZE, "squash": "tanh", "similarity": "cosine"},
]
SCALAR = [{"name": "fsq", "levels": levels} for levels in ([2], [3, 4, 5], [8, 8, 8, 5, 5, 5], [16] * 4)]
SCALAR += [
    {"name": "fsq", "levels": [8, 5, 5], "bound": "outer"},
    {"name": "fsq", "levels": [8, 5, 2], "bound": "ifsq"},
]
SCALAR += [{"name": "fsp", "levels": [8, 5, 5], "squash": squash} for squash in ("normal", "logistic")]
BINARY = [{"name": "lfq", "dim": 12}, {"name": "bsq", "dim": 12}]
LEECH = [{"name": "leech"}, {"name": "leech", "gradient": "rotation"}]
EMA = {"name": "ema", **SIZE}
COMPOSED = [
    {"name": "residual", "quantizer": {"name": "vq", **SIZE}, "depth": 3, "gradient": "dynamic_straight_through"},
    {"name": "residual", "quantizer": EMA, "depth": 3, "shared": True, "gradient": "rotation"},
    {"name": "residual", "quantizer": {"name": "fsq", "levels": [5, 4]}, "depth": 3},
    {"name": "residual", "quantizer": {"name": "fsp", "levels": [5, 4]}, "depth": 2, "shared": True},
    {"name": "residual", "quantizer": {"name": "lfq", "dim": 8}, "depth": 3, "dropout": 1.0},
    {"name": "residual", "quantizer": {"name": "bsq", "dim": 8}, "depth": 3},
    {"name": "residual", "quantizer": {"name": "simvq", **SIZE}, "depth": 4, "dropout": 1.0},
    {"name": "grouped", "quantizer": {"name": "simvq", **SIZE, "gradient": "rotation"}, "groups": 2},
    {"name": "residual", "quantizer": {**EMA, "sinkhorn": {}}, "depth": 2, "shared": True},
    {"name": "grouped", "quantizer": LEECH[0], "groups": 2},
    {"name": "grouped", "quantizer": GUMBEL[0], "groups": 2},
    {"name": "grouped", "quantizer": LEECH[1], "groups": 3, "shared": True},
    {"name": "grouped", "quantizer": {"name": "lfq", "dim": 4}, "groups": 3, "shared": True},
    {"name": "grouped", "quantizer": {**EMA, "entropy_temperature": 0.5}, "groups": 2, "shared": True},
    {
        "name": "grouped",
        "quantizer": {"name": "residual", "quantizer": {"name": "vq", **SIZE}, "depth": 2},
        "groups": 2,
    },
    {"name": "multiscale", "quantizer": {"name": "vq", **SIZE}, "scales": [1, 2, 4]},
    {"name": "multiscale", "quantizer": {**EMA, "similarity": "cosine"}, "scales": [1, 2, 4]},
    {"name": "multiscale", "quantizer": {"name": "simvq", **SIZE, "similarity": "cosine"}, "scales": [1, 3, 4]},
]
EVERY = TABLES + DOT + GUMBEL + SQUASHED + SCALAR + BINARY + LEECH + COMPOSED


def name_of(values):
    return "-".join(name_of(value) if isinstance(value, dict) else str(value) for value in values.values())


def latent_for(quantizer, seed=1, batch=3):
    return torch.randn(batch, quantizer.dim, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2


def gradient_of(estimator, latent, codes, upstream):
    """Return the gradient of an estimator at the latent."""
    latent = latent.clone().requires_grad_()
    (estimator(latent, codes) * upstream).sum().backward()
    return latent.grad
