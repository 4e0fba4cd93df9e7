"""A comparison of tokenizers as metrics.json."""

from dataclasses import asdict
from typing import Any

from ...evaluation.rows import finite_figures
from .compare import Comparison, Measured
from .published import published_facts, published_metrics
from .results import decoder_facts


def comparison_metrics(comparison: Comparison) -> dict[str, Any]:
    """Return the content of metrics.json."""
    preprocessing = comparison.crop.preprocessing
    return {
        "data": comparison.data,
        **decoder_facts(comparison.decoder),
        "images": len(comparison.compared[0].own.sources),
        "common_crop": {
            "preprocessing": preprocessing.model_dump() if preprocessing else None,
            "choice": comparison.crop.sentence,
        },
        "models": [
            {
                "model": each.model,
                "name": each.name,
                "fingerprint": each.fingerprint,
                "own_crop": _facts(each.own),
                "common_crop": _facts(each.common) if each.common else None,
                "usage_is_estimated": each.is_estimated,
                "published": published_facts(each.own.figures, published_metrics(each.config)),
            }
            for each in comparison.compared
        ],
        "failures": [asdict(failure) for failure in comparison.failures],
        "lost": comparison.lost,
    }


def _facts(measured: Measured) -> dict[str, Any]:
    return {
        "preprocessing": measured.preprocessing.model_dump(),
        **finite_figures(measured.figures),
        **({"prior": measured.prior.facts()} if measured.prior else {}),
        "not_measured": measured.not_measured,
    }
