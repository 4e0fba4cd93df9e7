"""What an importer is: how checkpoints of one layout become tokenizers."""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

from torch import Tensor

from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.preprocessing import PreprocessingConfig
from ...tokenizer.wording import shortened

Take: TypeAlias = Callable[[str], Tensor]
"""Returns a tensor of the checkpoint by its name in it; each may be taken once."""

SQUARE = PreprocessingConfig(size=256, resampling="linear", colour="ignore")
"""Preprocessing of families whose loaders use albumentations."""
RESIZED_AS_OPENCV = (
    "As in the original's validation, images are resized bilinearly without antialiasing, as OpenCV does."
)
"""A note of these families."""
RESIZED_AS_TENSORS = (
    "transformers resizes tensors with torchvision, where vistok resizes images with Pillow: about one value in a hundred "
    "differs, by 1 of 255 as a rule."
)
"""A note of parts of transformers."""


class TensorError(ValueError):
    """Tensors of a checkpoint differ from those of a layout, under the names that its importer knows."""

    def __init__(self, template: str, *names: str):
        self.template, self.names = template, names
        """A sentence with {} for each name."""
        super().__init__(self.sentence(str))

    def sentence(self, renamed: Callable[[str], str]) -> str:
        """Return the sentence with other names."""
        return self.template.format(*(shortened(renamed(name)) for name in self.names))


class MissingSettingError(ValueError):
    """The tensors leave a setting open, which is not in config.json either."""

    def __init__(self, problem: str, example: Mapping[str, Any]):
        super().__init__(problem)
        self.example = example
        """A value with which the names and shapes can be checked."""


class Shapes(dict[str, tuple[int, ...]]):
    """Shapes of the tensors of a checkpoint, by name."""

    prefix: str = ""
    """What comes before all names in the checkpoint."""

    def __missing__(self, name: str) -> tuple[int, ...]:
        raise TensorError("it has no tensor {}", self.prefix + name)

    @cached_property
    def sizes(self) -> list[tuple[int, str]]:
        """The sizes that were asked for, and the tensors that they are of."""
        return []

    @cached_property
    def modules(self) -> set[str]:
        """Names of all modules that have tensors, or modules with tensors."""
        ends = ((name, dot.start()) for name in self for dot in re.finditer(r"\.", name))
        return {name[:end] for name, end in ends}

    def has(self, module: str, tensor: str) -> bool:
        """Return whether there is a module; `tensor` is one that all such modules have.

        Raises ValueError when the module has other tensors, but not this one.
        """
        is_there = f"{module}.{tensor}" in self or module in self.modules
        if is_there:
            _ = self[f"{module}.{tensor}"]  # which says that it is missing
        return is_there

    def count(self, module: str, tensor: str) -> int:
        """Return how many indices from 0 up the name of a module, with one {}, has; `tensor` is one that all of them have.

        Raises ValueError when one of them does not have it, or is missing before another.
        """
        pattern = re.compile(re.escape(module).replace(re.escape("{}"), "([0-9]{1,9})"))
        found = {int(match[1]) for name in self.modules if (match := pattern.fullmatch(name))}
        count = next(index for index in itertools.count() if index not in found)
        for index in range(count + (len(found) > count)):
            _ = self[f"{module.format(index)}.{tensor}"]
        return count

    def rows(self, name: str) -> int:
        """Return the first dimension: output channels of a convolution, or codes of a codebook."""
        if not self[name]:
            raise TensorError("its tensor {} is a single number", self.prefix + name)
        self.sizes.append((self[name][0], name))
        return self[name][0]

    def last(self, name: str) -> int:
        """Return the last dimension: channels of a table, or the side of a kernel."""
        if not self.rows(name):
            return 0
        self.sizes.append((self[name][-1], name))
        return self[name][-1]


class Translation(Protocol):
    """How the networks and the quantizer of a checkpoint become those of a tokenizer."""

    def config(self, shapes: Shapes, settings: Mapping[str, Any]) -> TokenizerConfig:
        """Return architecture, quantizer and preprocessing; raise ValueError when they are not determined.

        `settings` is the content of config.json beside the checkpoint, empty if there is none.
        """

    def weights(self, config: TokenizerConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        """Return a tensor for each of `names`, vistok's names of the weights, made from those of the checkpoint."""


class Importer(NamedTuple):
    """One layout of the checkpoints of a family: its names of tensors. `import_checkpoint` does the rest for every family."""

    title: str
    """Name in the model card."""
    source: str
    """URL of the original code."""
    licence: str
    """Licence of the published weights, as the publisher writes it."""
    recognises: Callable[[Shapes], bool]
    """Whether names and shapes show that a checkpoint has this layout. Where they leave several families open, each of these
    says yes, and the user is asked for the family."""
    translation: Translation
    """What makes a tokenizer of it."""
    notes: tuple[str, ...] = ()
    """Sentences for the model card: what differs from the original, such as its resize, and odd habits that are kept."""
    ignored: str = ""
    """Regular expression for names of tensors that tokenizing and decoding do not need."""
    prefixes: tuple[str, ...] = ()
    """What may come before all names, such as a language model's name of its tokenizer; other tensors are left out then."""
    is_part: bool = False
    """Whether one of the prefixes is always there, because the same names without it are another layout."""
    wrappers: tuple[str, ...] = ()
    """Keys under which the project stores the weights, where they are not those that training programs use."""
    uses_average: bool = False
    """Whether the project evaluates the moving average of the weights (`model_ema.*`), which then replaces them."""
    guess: Callable[[TokenizerConfig], str] | None = None
    """Returns a sentence on the setting that nothing in a checkpoint shows, what was assumed, and how to change it."""
    guessed: str = ""
    """Key of that setting; nothing is assumed where it is given by hand."""
    exported_as: str = ""
    """Format of export-tokenizer that writes checkpoints of this layout, with the tokenizer's config beside them."""
    frozen: str = ""
    """Regular expression for names of weights that the project does not train, and so does not average."""

    def config(self, shapes: Shapes, settings: Mapping[str, Any]) -> TokenizerConfig:
        """Return the config of the tokenizer, as its translation does."""
        return self.translation.config(shapes, settings)

    def weights(self, config: TokenizerConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        """Return the weights of the tokenizer, as its translation does."""
        return self.translation.weights(config, names, take)


def has_tensors(*names: str) -> Callable[[Shapes], bool]:
    """Return the rule that a checkpoint has this layout if it has these tensors."""
    return lambda shapes: set(names) <= shapes.keys()
