"""The protocol of an importer: how checkpoints of one family become tokenizers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TypeAlias

from torch import Tensor

from ...tokenizer.folder.config_json import TokenizerConfig

Take: TypeAlias = Callable[[str], Tensor]
"""Returns a tensor of the checkpoint by its name in it; each may be taken once."""


class Shapes(dict[str, tuple[int, ...]]):
    """Shapes of the tensors of a checkpoint, by name."""

    def __missing__(self, name: str) -> tuple[int, ...]:
        raise ValueError(f"it has no tensor {name}")

    def rows(self, name: str) -> int:
        """Return the first dimension: output channels of a convolution, or codes of a codebook."""
        if not self[name]:
            raise ValueError(f"its tensor {name} is a single number")
        return self[name][0]


class Importer(ABC):
    """A family of public checkpoints that name their tensors alike. `import_checkpoint` does the rest for every family."""

    title: str
    """Name in the model card."""
    source: str
    """URL of the original code."""
    preprocessing_note: str
    """Sentence for the model card: how preprocessing differs from the original's."""
    ignored: str
    """Regular expression for names of tensors that tokenizing and decoding do not need."""

    @abstractmethod
    def recognises(self, shapes: Shapes) -> bool:
        """Return whether names and shapes show that a checkpoint belongs to this family and no other."""

    @abstractmethod
    def config(self, shapes: Shapes) -> TokenizerConfig:
        """Return architecture, quantizer and preprocessing; raise ValueError when the shapes do not determine them."""

    @abstractmethod
    def weights(self, config: TokenizerConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        """Return a tensor for each of `names`, vistok's names of the weights, made from those of the checkpoint."""
