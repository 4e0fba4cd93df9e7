"""Load the text tokenizer of a language model, which encodes captions as text alone."""

import json
from pathlib import Path
from typing import Any

from ..pretrained.find import HUB_PREFIX
from ..sequences.text import TextTokenizer
from ..tokenizer.wording import shown
from .hugging_face import HuggingFaceText, hugging_face_text
from .packages import needed
from .tiktoken_text import TiktokenText, encoding_file, named_encoding

FILE = "tokenizer.json"
OTHER_FILES = ("tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tekken.json")
"""Files of tokenizers that transformers converts."""


def load_text_tokenizer(source: str | Path, threads: bool = True) -> TextTokenizer:
    """Return a text tokenizer: a folder of transformers, a tokenizer.json, a .tiktoken file, or an encoding of tiktoken.

    `hf://owner/repo[@revision]` is a folder on the hub, whose tokenizer.json is downloaded.

    Text is encoded as text alone, whatever it says: a caption that spells `<|endoftext|>` becomes the ids of that text,
    never the id of the token. `threads=False` keeps batches on one core.

    Raises ValueError when there is no such tokenizer, it cannot be read, or a package is missing.
    """
    if isinstance(source, str) and source.startswith(HUB_PREFIX):
        return _of_file(_on_hub(source), threads)
    path = Path(source)
    if path.is_dir():
        return _of_folder(path, threads)
    if path.is_file():
        return _of_file(path, threads)
    if isinstance(source, Path) or path.suffix or len(path.parts) != 1:
        raise ValueError(
            f"There is no text tokenizer at {source}: give a folder of transformers, a tokenizer.json, a .tiktoken file,"
            f" the name of an encoding of tiktoken, or {HUB_PREFIX}owner/repo."
        )
    return named_encoding(source, threads)


def text_tokenizer_of(tokenizer: Any, threads: bool = True) -> TextTokenizer:
    """Return the text tokenizer of one in memory: of transformers (fast), `tokenizers` or tiktoken.

    It is a copy: what is added to the given one later is not seen. One that was loaded here is
    returned as it is. Raises ValueError for anything else.
    """
    if isinstance(tokenizer, HuggingFaceText | TiktokenText):
        return tokenizer
    if hasattr(tokenizer, "encode_ordinary"):
        return TiktokenText(tokenizer, threads)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(backend, "to_str"):
        raise ValueError(
            f"{shown(tokenizer)} is not a text tokenizer that is known: give a fast one of transformers, one of tokenizers,"
            " or an encoding of tiktoken."
        )
    return hugging_face_text(json.loads(backend.to_str()), threads, "The tokenizer")


def _of_folder(folder: Path, threads: bool) -> TextTokenizer:
    if (folder / FILE).is_file():
        return _of_file(folder / FILE, threads)
    encodings = sorted(folder.glob("*.tiktoken"))
    if len(encodings) == 1:
        return encoding_file(encodings[0], threads)
    if not any((folder / name).is_file() for name in OTHER_FILES):
        raise ValueError(
            f"{folder} has no text tokenizer: it needs a {FILE}, one .tiktoken file, or {', '.join(OTHER_FILES)}."
        )
    transformers = needed("transformers", f"A folder without a {FILE}")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # whatever its converters raise
        raise ValueError(f"transformers cannot load the tokenizer in {folder}: {error}") from None
    return text_tokenizer_of(tokenizer, threads)


def _on_hub(given: str) -> Path:
    from ..pretrained.hub import download  # late, as it brings the client of the hub
    from ..pretrained.hub_errors import Repository

    name, _, revision = given.removeprefix(HUB_PREFIX).partition("@")
    repository = Repository(name, revision or "main", given, "give a folder of transformers")
    return download(repository, [FILE]).folder / FILE


def _of_file(path: Path, threads: bool) -> TextTokenizer:
    if path.suffix != ".json":
        return encoding_file(path, threads)
    try:
        definition = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON, as a {FILE} is: {error}.") from None
    return hugging_face_text(definition, threads, str(path))
