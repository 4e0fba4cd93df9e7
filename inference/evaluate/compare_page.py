"""The page of a comparison: figures, reconstructions and use of the codes, side by side."""

from collections.abc import Sequence

from ...evaluation.rows import missing_notes
from ...report import content
from ...report.side_by_side import usage_curve
from ...tokenizer.wording import pluralize
from .compare import Compared, Comparison
from .compare_learnability import EXPLANATION, learnability, prior_of
from .compare_rows import said_once, sections
from .published import NOTE, published_metrics
from .results import decoder_phrase

MAX_IMAGES = 8


def comparison_report(comparison: Comparison) -> content.Report:
    """Return the page of a comparison."""
    compared = comparison.compared
    names = [each.name for each in compared]
    images = pluralize(len(compared[0].own.sources), "image")
    rows = _image_rows(comparison)
    return content.Report(
        title=f"{', '.join(names[:-1])} and {names[-1]}",
        subtitle=f"{images} of {', '.join(comparison.data)}, float32{decoder_phrase(comparison.decoder)}",
        notes=said_once(compared, missing_notes)
        + [f"{failure.source} was left out: {failure.reason}." for failure in comparison.failures]
        + [f"Lost: {phrase}" for phrase in comparison.lost],
        comparisons=[] if rows else _own_examples(compared),
        config="\n\n".join(f"{each.name}\n{each.config.model_dump_json(indent=2)}" for each in compared),
        environment={
            **{f"fingerprint of {each.name}": each.fingerprint for each in compared},
            **content.environment(compared[0].device),
        },
        side_by_side=content.SideBySide(
            columns=names,
            explanation=_explanation(comparison),
            sections=sections(comparison),
            images=rows,
            scatter=learnability(compared),
            usage=[usage_curve(each.name, each.own.counts) for each in compared if not each.is_estimated],
        ),
    )


def _explanation(comparison: Comparison) -> list[str]:
    sentences = [
        "On its own crop, a tokenizer gets the images with its own preprocessing, and its reconstructions are compared with "
        "those pixels.",
        comparison.crop.sentence,
        "Usage is the fraction of the codes that occur among the tokens of these images; at even use is what tokens drawn at "
        "random from all codes would reach.",
    ]
    trained = prior_of(comparison.compared[0])
    sentences += [EXPLANATION, trained] if trained else []
    return sentences + ([NOTE] if any(published_metrics(each.config) for each in comparison.compared) else [])


def _image_rows(comparison: Comparison) -> list[content.ImageRow]:
    """Return the first images on the common crop; none if there is no common crop, or no decoder."""
    decoded = [
        (each.name, each.common.examples) for each in comparison.compared if each.common and each.common.examples
    ]
    rows = []
    for index, example in enumerate(decoded[0][1][:MAX_IMAGES] if decoded else []):
        pairs = {
            f"{name} · {examples[index].psnr:.2f} dB": examples[index].reconstruction for name, examples in decoded
        }
        rows.append(content.ImageRow(example.source, example.original, pairs))
    return rows


def _own_examples(compared: Sequence[Compared]) -> list[content.Comparison]:
    return [
        content.Comparison(
            f"{each.name} · {example.source} · {example.psnr:.2f} dB", example.original, example.reconstruction
        )
        for examples in zip(
            *([(each, one) for one in each.own.examples[:MAX_IMAGES]] for each in compared), strict=False
        )
        for each, example in examples
    ]
