"""The whole of evaluate-tokenizer, from its options to what it prints."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from ...cli.printing import print_json, say
from ...cli.progress import track
from ...evaluation.reference_metrics import ReferenceMetrics
from ...tokenizer.folder_lock import hold_folder
from ..api import load
from ..arithmetic import PLAIN_DECODER, DecoderChoice
from ..decoders import chosen_decoder
from .arguments import short_names
from .compare import compare
from .compare_metrics import comparison_metrics
from .compare_page import comparison_report
from .compare_table import comparison_lines, comparison_tables
from .evaluation import EvaluationInputs, evaluate
from .prior import PriorRequest, check_images
from .results import evaluation_report, metrics, not_measured_lines, summary_lines, summary_table, write_results


class Request(NamedTuple):
    """The options of evaluate-tokenizer, parsed."""

    models: list[str]
    data: list[str]
    out: Path
    device: str
    build_reference: Callable[[], ReferenceMetrics]
    quiet: bool
    as_json: bool
    prior: int | None = None
    """Steps of the prior; None for no prior."""
    decoder: DecoderChoice = PLAIN_DECODER
    """Which decoder makes the reconstructions."""

    def prior_request(self, inputs: EvaluationInputs) -> PriorRequest | None:
        """Return what to train a prior with, if one was asked for; raise ValueError when there are too few images."""
        if self.prior is None:
            return None
        check_images(sample.key for sample in inputs.samples)
        return PriorRequest(self.prior, lambda steps: track(steps, "steps of the prior", quiet=self.quiet))


def run_evaluation(request: Request) -> bool:
    """Evaluate one tokenizer, and return whether images were lost.

    Raises ValueError for a wrong call, and OSError or WorkFailedError when the work fails.
    """
    model, as_json = request.models[0], request.as_json
    tokenizer = load(model, request.device)
    decoder = chosen_decoder(tokenizer.model, *request.decoder)
    inputs, reference = EvaluationInputs(request.data, request.out), request.build_reference()
    told = dict(reference.not_measured) if tokenizer.model.has_decoder else {}
    prior = request.prior_request(inputs)
    for line in not_measured_lines(told):
        say(line, as_json)
    evaluation = evaluate(
        model,
        tokenizer,
        inputs,
        reference,
        lambda samples: track(samples, "images", quiet=request.quiet),
        prior,
        decoder,
    )
    figures = metrics(evaluation)
    with hold_folder(request.out, "evaluate-tokenizer"):
        files = write_results(request.out, figures, evaluation_report(evaluation))
    if as_json:
        print_json({**figures, "report": files[1]})
        return bool(inputs.lost)
    Console(highlight=False).print(summary_table(evaluation))
    others = {name: reason for name, reason in evaluation.not_measured.items() if name not in told}
    for line in summary_lines(evaluation) + not_measured_lines(others):
        say(line)
    say(f"in {files[0]} and {files[1]}")
    return bool(inputs.lost)


def run_comparison(request: Request) -> bool:
    """Evaluate several tokenizers side by side, and return whether images were lost; raises as `run_evaluation` does."""
    inputs = EvaluationInputs(request.data, request.out)
    models = dict(zip(short_names(request.models), request.models, strict=True))
    told: dict[str, str] = {}

    def build_reference() -> ReferenceMetrics:
        reference = request.build_reference()
        if not told:
            told.update(reference.not_measured)
            for line in not_measured_lines(told):
                say(line, request.as_json)
        return reference

    comparison = compare(
        models,
        inputs,
        request.device,
        build_reference,
        lambda phrase, samples: track(samples, phrase, quiet=request.quiet),
        request.prior_request(inputs),
        request.decoder,
    )
    figures = comparison_metrics(comparison)
    with hold_folder(request.out, "evaluate-tokenizer"):
        files = write_results(request.out, figures, comparison_report(comparison))
    if request.as_json:
        print_json({**figures, "report": files[1]})
        return bool(comparison.lost)
    console = Console(highlight=False)
    for table in comparison_tables(comparison, console.width):
        console.print(table)
    for line in comparison_lines(comparison, told):
        say(line)
    say(f"in {files[0]} and {files[1]}")
    return bool(comparison.lost)
