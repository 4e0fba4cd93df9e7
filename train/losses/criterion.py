"""What a loss with a network must provide; the table CRITERIA names those that exist."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from ...tokenizer.config import Config
from ...tokenizer.shapes import Pixels


class Criterion(nn.Module, ABC):
    """A frozen network that compares images with their reconstruction.

    It takes no part in training: it is kept in eval mode, its parameters get no gradient and are not in checkpoints.
    """

    @abstractmethod
    def terms(self, images: Pixels, reconstruction: Pixels) -> dict[str, Tensor]:
        """Return unweighted scalars in float32, one for each of the config's `loss_names`; pixels are in [-1, 1].

        It runs under the autocast of the run; turn that off inside where float32 is needed.
        """


class CriterionConfig(Config, ABC):
    """Settings of a criterion: a section of `criteria`, under its name in the table."""

    loss_names: ClassVar[tuple[str, ...]]
    """Names of its terms, which are keys of `losses`. If all of them weigh 0, the criterion is not built."""

    @abstractmethod
    def build(self) -> Criterion:
        """Build it, with its weights; raise ValueError when they are missing or do not fit."""
