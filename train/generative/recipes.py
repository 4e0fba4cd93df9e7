"""The recipes for extra decoders, one table, and the section `decoder` of a run."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator

from ...tokenizer.config import Choice, Config
from ...tokenizer.decoders.table import ExtraDecoderConfig
from ...tokenizer.folder.decoders import check_decoder_name
from .distillation import DistillConfig
from .flow_matching import FlowConfig
from .gan import GanConfig
from .matching import FgmConfig
from .recipe import RecipeConfig

RECIPES: dict[str, type[RecipeConfig]] = {
    "gan": GanConfig,
    "flow": FlowConfig,
    "distill": DistillConfig,
    "fgm": FgmConfig,
}
"""Recipes by name. To add one, write its config and its module in a new file, and add a line here."""


def _checked(name: str) -> str:
    check_decoder_name(name)
    return name


DecoderName: TypeAlias = Annotated[str, AfterValidator(_checked)]
"""Name of an extra decoder in a tokenizer folder."""


class DecoderTrainingConfig(Config):
    """An extra decoder to train, with everything else frozen."""

    name: DecoderName = "generative"
    """Name of the decoder in the tokenizer folder: letters, digits, - and _, but not plain."""
    network: ExtraDecoderConfig
    """Network of the decoder; its keys depend on its name."""
    recipe: Annotated[RecipeConfig, Choice(RECIPES)]
    """How it is trained; its keys depend on its name."""
