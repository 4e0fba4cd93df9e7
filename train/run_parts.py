"""Parts of a run that follow from its networks: opponent, and what is frozen, compiled, checked and restored."""

from collections.abc import Sequence

from accelerate import Accelerator
from torch import nn

from ..tokenizer.decoders.base import ExtraDecoder
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.networks.base import Network
from .config import TrainConfig
from .finite_check import FiniteCheck, skipped_limit
from .forward_state import ForwardState
from .generative.recipe import Recipe
from .generative.recipes import DecoderTrainingConfig
from .losses.criterion import Criterion
from .losses.discriminator_training import Adversary
from .losses.terms import ADVERSARIAL
from .opponent import Opponent
from .optimizer.config import OptimizerConfig
from .run_config import RunConfig
from .speed import compile_networks


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


def build_opponent(
    config: TrainConfig, recipe: Recipe | None, optimizer: OptimizerConfig, accelerator: Accelerator
) -> Opponent | None:
    """Return the opponent of the recipe, or else the discriminator of the config, or None; `optimizer` is the run's."""
    if recipe and (own := recipe.opponent(accelerator, optimizer)):
        return own
    if config.adversarial and config.losses.get(ADVERSARIAL):
        return Adversary(config.adversarial, optimizer.lr, accelerator)
    return None


def trained_networks(
    model: VisualTokenizer, recipe: Recipe | None, opponent: Opponent | None
) -> dict[str, tuple[nn.Module, str]]:
    """Return the networks that are trained, by name, each with the option of its learning rate."""
    rest = {opponent.name: (opponent.network, opponent.lr_option)} if opponent else {}
    return {"decoder" if recipe else "tokenizer": (model, "optimizer.lr"), **rest}


def compile_all(
    model: VisualTokenizer, recipe: Recipe | None, opponent: Opponent | None, criteria: Sequence[Criterion]
) -> None:
    """Compile all networks at their first call; encoders and decoders by a method of their own choice."""
    discriminator = [opponent.network] if isinstance(opponent, Adversary) else []
    others = [child for criterion in criteria for child in criterion.children()]
    modules = [] if recipe is None else [*recipe.modules(), *([opponent.network] if opponent else [])]
    extra = [module for module in modules if isinstance(module, ExtraDecoder)]
    networks: list[Network] = [model.encoder, model.decoder, *extra]
    compile_networks(networks, [*others, *discriminator])


def compiled_at(compiles: bool, opponent: Opponent | None, step: int, start: int) -> str:
    """Return what is compiled in a step of a run that started after step `start`, with its verb; empty if nothing is."""
    if not compiles:
        return ""
    if step == start + 1:
        return "the networks were"
    return f"the {opponent.name} was" if opponent and step == max(start, opponent.start) + 1 else ""


def forward_states(model: VisualTokenizer, opponent: Opponent | None) -> dict[str, ForwardState]:
    """Return what forwards of each network change, by its name."""
    states = {"tokenizer": ForwardState(model.quantizer, model.decoders)}
    if opponent:
        states[opponent.name] = ForwardState(opponent.network)
    return states


def finite_checks(run: RunConfig, accelerator: Accelerator, opponent: Opponent | None) -> dict[str, FiniteCheck]:
    """Return what decides which steps of each network are skipped, by its name."""
    shared = accelerator, run.out / "checkpoints", skipped_limit(run.max_skipped_steps, run.steps)
    checks = {"tokenizer": FiniteCheck(*shared)}
    if opponent:
        checks[opponent.name] = FiniteCheck(*shared, opponent.lr_option, opponent.section, opponent.steps_each)
    return checks
