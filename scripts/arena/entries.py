"""The quantizers of the arena, all but one of 4,096 values a position, and how each is fitted."""

from typing import Any, NamedTuple

DIM = 16
CODES = 4096


class Entry(NamedTuple):
    """A quantizer and how it is fitted."""

    values: dict[str, Any]
    weights: dict[str, float] = {"codebook": 1.0, "commitment": 0.0}
    """Weights of its loss terms; the latents are frozen, so the commitment has nothing to pull."""
    codebook: dict[str, Any] = {}
    """Values of CodebookConfig."""
    optimizer: dict[str, Any] = {}
    """Values of FitConfig: who moves the codebook, and how."""
    part: int = 1
    """It gets one of so many steps."""


def _table(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "dim": DIM, "codebook_size": CODES, **more}


SMALL = {"initial_scale": 1e-3}
FROZEN = {"codebook": 1.0, "commitment": 0.0}
DECODED = {"reconstruction": 1.0}
BINARY = DECODED | {"commitment": 0.25, "sample_entropy": 0.01, "codebook_entropy": 0.01}
KMEANS = {"initialization": "kmeans", "vectors_per_code": 8, "kmeans_iterations": 5}
REVIVAL = {"revive_every": 50}
LAZY = {"codebook_rows": "lazy"}
# Muon's updates are as large as Adam's on noise, but the gradients of a fit are steady: there Adam's are five times larger.
MUON = {"projection_optimizer": "muon", "muon_rate": 5.0}
ENTRIES: dict[str, Entry] = {
    "VQ, small init": Entry(_table("vq", **SMALL)),
    "VQ": Entry(_table("vq")),
    "VQ, k-means init": Entry(_table("vq"), codebook=KMEANS),
    "VQ, small init, lazy": Entry(_table("vq", **SMALL), optimizer=LAZY),
    "VQ, lazy": Entry(_table("vq"), optimizer=LAZY),
    "VQ, k-means init, lazy": Entry(_table("vq"), codebook=KMEANS, optimizer=LAZY),
    "VQ, small init, revival": Entry(_table("vq", **SMALL), codebook=REVIVAL),
    "VQ, small init, revival, lazy": Entry(_table("vq", **SMALL), codebook=REVIVAL, optimizer=LAZY),
    "VQ, small init, Wasserstein": Entry(
        _table("vq", **SMALL, distribution="wasserstein"), FROZEN | {"wasserstein": 0.1}
    ),
    "VQ, small init, MMD": Entry(_table("vq", **SMALL, distribution="mmd"), FROZEN | {"mmd": 1.0}, part=4),
    "VQ, small init, region": Entry(_table("vq", **SMALL, region=True), FROZEN | {"region": 0.1}),
    "VQ, small init, soft top-4": Entry(
        _table("vq", **SMALL, soft={"k": 4, "temperature": 1.0}), FROZEN | DECODED, part=4
    ),
    "VQ, small init, Sinkhorn": Entry(_table("vq", **SMALL, sinkhorn={}), part=4),
    "EMA, small init, Sinkhorn": Entry(_table("ema", **SMALL, sinkhorn={}), {"commitment": 0.0}, part=4),
    "VQ, DiVeQ": Entry(_table("vq", gradient="diveq"), DECODED | {"codebook": 0.0, "commitment": 0.0}),
    "EMA, small init": Entry(_table("ema", **SMALL), {"commitment": 0.0}),
    "EMA, k-means init": Entry(_table("ema"), {"commitment": 0.0}, codebook=KMEANS),
    "EMA, k-means init, revival": Entry(_table("ema"), {"commitment": 0.0}, codebook=KMEANS | REVIVAL),
    "SimVQ": Entry(_table("simvq")),
    "SimVQ, diagonal": Entry(_table("simvq", projection="diagonal")),
    "SimVQ, MLP": Entry(_table("simvq", projection="mlp")),
    "SimVQ, trained basis": Entry(_table("simvq", trained_basis=True)),
    "FVQ": Entry(_table("fvq")),
    "SimVQ, Muon": Entry(_table("simvq"), optimizer=MUON),
    "SimVQ, MLP, Muon": Entry(_table("simvq", projection="mlp"), optimizer=MUON),
    "SimVQ, trained basis, Muon": Entry(_table("simvq", trained_basis=True), optimizer=MUON),
    "SimVQ, trained basis, lazy, Muon": Entry(_table("simvq", trained_basis=True), optimizer=LAZY | MUON),
    "FVQ, Adam": Entry(_table("fvq"), optimizer={"projection_optimizer": "adam"}),
    "VQ, cosine, d = 8": Entry(
        _table("vq", similarity="cosine") | {"dim": 8}, DECODED | {"codebook": 1.0, "commitment": 0.25}
    ),
    # The paper's terms and weights (arXiv 2412.02692): temperature 0.01, entropies by 0.05.
    "IBQ": Entry(
        _table("ibq"),
        DECODED
        | {"codebook": 1.0, "commitment": 0.25, "assignment": 1.0, "sample_entropy": 0.05, "codebook_entropy": 0.05},
        part=4,
    ),
    "FSQ [8, 8, 8, 8]": Entry({"name": "fsq", "levels": [8, 8, 8, 8]}, DECODED),
    "iFSQ [8, 8, 8, 8]": Entry({"name": "fsq", "levels": [8, 8, 8, 8], "bound": "ifsq"}, DECODED),
    "FSP [8, 8, 8, 8]": Entry({"name": "fsp", "levels": [8, 8, 8, 8]}, DECODED | {"moments": 0.1}),
    "LFQ, 12 bits": Entry({"name": "lfq", "dim": 12}, BINARY),
    "BSQ, 12 bits": Entry({"name": "bsq", "dim": 12}, BINARY),
    # The one row of more than 12 bits: 196,560 codes.
    "Leech": Entry({"name": "leech"}, DECODED),
    "residual, 2 x 64": Entry({"name": "residual", "depth": 2, "quantizer": _table("vq") | {"codebook_size": 64}}),
    "grouped, 2 x 64": Entry(
        {"name": "grouped", "groups": 2, "quantizer": _table("vq") | {"codebook_size": 64, "dim": DIM // 2}}
    ),
}
