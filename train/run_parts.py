"""Parts of a run that follow from its networks: what is frozen, compiled and checked, and the names of their losses."""

from collections.abc import Sequence

from accelerate import Accelerator
from torch import nn

from ..tokenizer.decoders.base import ExtraDecoder
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.networks.base import Network
from .config import RunConfig
from .finite_check import FiniteCheck, skipped_limit
from .generative.recipe import Recipe
from .generative.recipes import DecoderTrainingConfig
from .opponent import Opponent


def freeze_all_but(model: VisualTokenizer, parts: Sequence[str]) -> None:
    """Freeze the other parts; a frozen quantizer is in eval mode, so its codes do not change either."""
    modules: dict[str, list[nn.Module]] = {
        "encoder": [model.encoder],
        "quantizer": [model.quantizer_in, model.quantizer, model.quantizer_out],
        "decoder": [model.decoder],
    }
    model.train()
    for part in modules.keys() - parts:
        for module in modules[part]:
            module.requires_grad_(False).eval()


def own_losses(model: VisualTokenizer, decoder: DecoderTrainingConfig | None) -> tuple[str, ...]:
    """Return the names of the losses that forwards bring: those of the recipe, or of a quantizer that is trained."""
    if decoder:
        return decoder.recipe.loss_names
    return tuple(model.quantizer.loss_names) if model.quantizer.training else ()


def traced_networks(model: VisualTokenizer, recipe: Recipe | None, opponent: Opponent | None) -> list[Network]:
    """Return the networks that are compiled by a method of their own choice."""
    modules = [] if recipe is None else [*recipe.modules(), *([opponent.network] if opponent else [])]
    extra = [module for module in modules if isinstance(module, ExtraDecoder)]
    return [model.encoder, model.decoder, *extra]


def finite_checks(run: RunConfig, accelerator: Accelerator, opponent: Opponent | None) -> dict[str, FiniteCheck]:
    """Return what decides which steps of each network are skipped, by its name."""
    shared = accelerator, run.out / "checkpoints", skipped_limit(run.max_skipped_steps, run.steps)
    checks = {"tokenizer": FiniteCheck(*shared)}
    if opponent:
        checks[opponent.name] = FiniteCheck(*shared, opponent.lr_option, opponent.section, opponent.steps_each)
    return checks
