"""config.json of a tokenizer folder; any error in it is one sentence."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import model_validator

from ..config import Choice, Config, ConfigType, parse_config
from ..files import check_no_pointer
from ..networks.architectures import Architecture
from ..preprocessing import PreprocessingConfig
from ..quantizers import QUANTIZERS, QuantizerConfig
from .replacing import finish_replacing

CONFIG_FILE = "config.json"
EXPORT_FOLDER = "export"
"""Where a training run keeps its tokenizer folder."""
FORMAT_VERSION = 1
AGAIN = "export or download the tokenizer again."
"""What helps where a file is damaged."""
LARGEST = 1 << 20
"""Max bytes of a config; vistok writes about a thousand."""

WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
    dict: "a section",
    type(None): "null",
}
LONGEST = 600
"""Max characters of a message, which may quote the file."""


class Origin(Config):
    """Where imported weights come from; tokens do not depend on it."""

    family: str
    """Name of the importer."""
    source: str
    """URL of the original code."""
    licence: str
    """Licence of the published weights."""
    checkpoint: str
    """Name of the file that was imported."""
    repository: str = ""
    """Where it was downloaded from, as owner/repo@commit of the Hugging Face hub; empty for a file that the user had."""
    published: dict[str, float] = {}
    """Metrics as published, by their keys in the metrics.json of an evaluation, such as rfid; fractions are in [0, 1]."""

    def of_derived(self) -> "Origin":
        """Return the origin of weights that are trained from these: bound by the licence, without the published metrics."""
        return self.model_copy(update={"published": {}})


class TokenizerConfig(Config):
    """Everything needed to build a tokenizer, except its weights."""

    format_version: int = FORMAT_VERSION
    """Version of the folder's layout."""
    architecture: Architecture
    """Encoder and decoder."""
    quantizer: Annotated[QuantizerConfig, Choice(QUANTIZERS)]
    """Quantizer, as exported."""
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    """How images become pixels."""
    origin: Origin | None = None
    """Where imported weights come from; null for those that vistok trained."""

    @model_validator(mode="after")
    def _images_fit(self) -> "TokenizerConfig":
        self.architecture.require_image_size("preprocessing.size", self.preprocessing.size)
        return self


def read_tokenizer_config(folder: Path) -> TokenizerConfig:
    """Read config.json of a tokenizer folder; raise ValueError with one sentence when it cannot be read."""
    path = folder / CONFIG_FILE
    try:
        finish_replacing(folder)
    except OSError as error:
        raise ValueError(
            f"{folder} holds a tokenizer whose saving was stopped, and cannot be written to ({error.strerror}): make it "
            "writable, and load it again."
        ) from None
    if not path.is_file():
        exported = folder / EXPORT_FOLDER
        if (exported / CONFIG_FILE).is_file():
            raise ValueError(f"{folder} is a run folder, not a tokenizer folder: give its export, {exported}.")
        raise ValueError(f"{folder} is not a tokenizer folder: it has no {CONFIG_FILE}.")
    return read_config(path, TokenizerConfig)


def read_config(path: Path, config_class: type[ConfigType]) -> ConfigType:
    """Read a config.json that vistok wrote; raise ValueError with one sentence when it cannot be read."""
    values = _read_object(path)
    if values.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format_version {values.get('format_version')!r}, but this vistok reads {FORMAT_VERSION}: "
            "use the vistok that wrote it."
        )
    try:
        config = parse_config(config_class, values)
    except ValueError as error:
        raise ValueError(f"{path}: {_short(str(error))}") from None
    for key, given, taken in _differences(values, config.model_dump(mode="json", exclude_unset=True), ""):
        raise ValueError(f"{path}: {key} is {given!r}, but must be {WORDS[type(taken)]} such as {taken!r}.")
    return config


def _read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file; unlike the module json, refuse NaN and duplicate keys."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): make it readable.") from None
    check_no_pointer(path)
    if len(content) > LARGEST:
        raise ValueError(f"{path} has more than {LARGEST} bytes, which no tokenizer's config needs: {AGAIN}")
    try:
        values = json.loads(content.decode(), object_pairs_hook=_without_repetition, parse_constant=_refuse)
    except RecursionError:
        raise ValueError(f"{path} is not JSON of a tokenizer (nested too deeply): {AGAIN}") from None
    except ValueError as error:  # of JSON, of UTF-8, of numbers with thousands of digits, and ours
        raise ValueError(f"{path} is not JSON ({error}): {AGAIN}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}, but must be an object in braces: {AGAIN}")
    return values


def _short(sentence: str) -> str:
    """Return a message as one printable line of at most about LONGEST characters."""
    sentence = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in sentence)
    return sentence if len(sentence) <= LONGEST else f"{sentence[: LONGEST // 2]} ... {sentence[-LONGEST // 2 :]}"


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"{key[:100]!r} comes twice")
    return values


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _differences(given: Any, taken: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield each value that pydantic converted from another type, such as "32" to 32."""
    if isinstance(given, dict) and isinstance(taken, dict):
        for name in given.keys() & taken.keys():
            yield from _differences(given[name], taken[name], f"{key}.{name}".lstrip("."))
    elif isinstance(given, list) and isinstance(taken, list):
        for index, pair in enumerate(zip(given, taken, strict=False)):
            yield from _differences(*pair, f"{key}.{index}")
    elif type(given) is not type(taken) and not (type(given) is int and type(taken) is float):
        yield key, given, taken
