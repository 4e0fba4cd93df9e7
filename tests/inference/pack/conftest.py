"""Token shards with captions, a text tokenizer, and the commands that pack them and unpack them."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("tokenizers")

from commands import APPS
from packing import run
from text_tokenizers import write_text_tokenizer
from token_folders import CODEBOOKS, VOCAB_SIZE, write_folder
from vistok.language.text_tokenizers import load_text_tokenizer
from vistok.sequences.vocabulary import vocabulary_for


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    """A tokenizer.json of bytes and merges, with structure tokens of images."""
    return write_text_tokenizer(tmp_path_factory.mktemp("text") / "tokenizer.json")


def with_vocabulary(text_file, codebooks):
    """Copy a text tokenizer, with a vocabulary beside for which nothing has to be spelled again in each call."""
    vocabulary = vocabulary_for(load_text_tokenizer(text_file), VOCAB_SIZE, codebooks, max_side=20)
    folder = text_file.parent / f"with-vocabulary-{codebooks}"
    vocabulary.save(folder)
    return Path(shutil.copy(text_file, folder))


@pytest.fixture(scope="session")
def small_vocabulary(text_file):
    """A text tokenizer with the vocabulary of `tokens`."""
    return with_vocabulary(text_file, CODEBOOKS)


@pytest.fixture(scope="session")
def one_codebook(text_file):
    """A text tokenizer with a vocabulary of one codebook."""
    return with_vocabulary(text_file, 1)


@pytest.fixture(scope="session")
def text(text_file):
    return load_text_tokenizer(text_file)


@pytest.fixture(scope="session")
def _shared_tokens(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("tokens") / "t", "wds")


@pytest.fixture
def tokens(_shared_tokens):
    """Five shards of 19 images with two codebooks, of which 11 have a caption; nobody writes here."""
    return _shared_tokens


@pytest.fixture
def pack(small_vocabulary):
    """Pack token shards in one process, in the layout raster unless told otherwise."""

    def packed(source, out, *options, code=0, text=small_vocabulary, layout="raster"):
        arguments = (source, "--out", out, "--text-tokenizer", text, "--layout", layout)
        workers = () if "--workers" in options else ("--workers", 1)
        return run(APPS["pack-sequences"], *arguments, *workers, *options, "--quiet", code=code)

    return packed


@pytest.fixture
def unpack():
    return lambda *arguments, code=0: run(APPS["unpack-sequences"], *arguments, "--quiet", code=code)


@pytest.fixture
def verify():
    return lambda *arguments, code=0: run(APPS["verify-tokens"], *arguments, "--quiet", code=code)
