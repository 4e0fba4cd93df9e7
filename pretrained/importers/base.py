"""What a family of public checkpoints says of itself, so that its checkpoints become tokenizers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TypeAlias

from torch import Tensor

from ...tokenizer.folder.config_json import TokenizerConfig

Take: TypeAlias = Callable[[str], Tensor]
"""Returns a tensor of the checkpoint by its name there; each may be taken once."""


class Shapes(dict[str, tuple[int, ...]]):
    """Shapes of the tensors of a checkpoint, by name."""

    def __missing__(self, name: str) -> tuple[int, ...]:
        raise ValueError(f"it has no tensor {name}")

    def rows(self, name: str) -> int:
        """Return the first dimension of a tensor: output channels of a convolution, codes of a codebook."""
        if not self[name]:
            raise ValueError(f"its tensor {name} is a single number")
        return self[name][0]


class Importer(ABC):
    """A family of public checkpoints whose tensors have the same names."""

    title: str
    """What the model card calls it."""
    source: str
    """Address of the original code."""
    preprocessing_note: str
    """What differs between the original's preprocessing and vistok's, as a sentence for the model card."""
    ignored: str
    """Regular expression for names of tensors that tokenizing and decoding do not need."""

    @abstractmethod
    def recognises(self, shapes: Shapes) -> bool:
        """Return whether a checkpoint belongs to this family and to no other, as far as names and shapes tell."""

    @abstractmethod
    def config(self, shapes: Shapes) -> TokenizerConfig:
        """Return architecture, quantizer and preprocessing; raise ValueError when the shapes do not tell them."""

    @abstractmethod
    def weights(self, config: TokenizerConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        """Return the tensors that vistok calls `names`, made from those of the checkpoint."""
