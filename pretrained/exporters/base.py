"""The protocol of an exporter: how a tokenizer becomes the files of another program."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.model import VisualTokenizer


class Source(NamedTuple):
    """A tokenizer to export."""

    model: VisualTokenizer
    """float32, in eval mode, on the CPU, its quantizer as inference needs it."""
    config: TokenizerConfig
    """With the config of that quantizer."""
    facts: dict[str, Any]
    """What users of the files need to know beside their shapes, for the formats that can hold it: plain JSON."""

    @property
    def has_decoder(self) -> bool:
        """Whether tokens can be decoded."""
        return not self.config.architecture.encoder_only


class Written(NamedTuple):
    """What an exporter says of the files that it wrote."""

    files: dict[str, str]
    """Name of each file by what it holds."""
    pixels: tuple[float, float]
    """Black and white in the pixels that go in and come out."""
    image_size: tuple[int, int] | None = None
    """Height and width of the only images that the files take; None for any multiples of the downsampling."""


class Program(NamedTuple):
    """The files as their own library runs them; pixels `b 3 h w` have the range that `Written` says."""

    encode: Callable[[Tensor], Tensor]
    """Return the tokens `b q y x` of pixels."""
    decode: Callable[[Tensor], Tensor] | None
    """Return the pixels of tokens; None where there is no decoder."""


class Exporter(ABC):
    """A format. `export_model` does the rest for every format: check the files, write a card, leave nothing half-written."""

    title: str
    """Name of the format in sentences."""
    packages: tuple[str, ...] = ()
    """What must be installed to write the files and to run them."""
    install: str = ""
    """What pip installs these with."""
    usage: str
    """Python that encodes with the files, for the card; {height}, {width}, {tokens}, {side}, {black}, {white} are filled in."""
    usage_of_decoder: str
    """Python after it that decodes."""

    @abstractmethod
    def write(self, source: Source, folder: Path) -> Written:
        """Write the files into an empty folder; raise ValueError with the first reason why the format cannot hold them."""

    @abstractmethod
    def load(self, folder: Path) -> Program:
        """Load the files that `write` wrote, without vistok's own code."""
