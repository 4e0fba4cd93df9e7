"""What 131,072 codes of an image tokenizer cost a text tokenizer, by the way that they are put into it.

    python scripts/benchmark_text_tokenizer.py --out results/text_tokenizer.json tokenizer.json...

Ways: `vocabulary` is `extend_tokenizer`, which puts codes into the vocabulary of the tokenizer's model; `special tokens` and
`added tokens` are the methods of `tokenizers` of these names. `before` is the tokenizer as it was. Each way is saved as a
folder of transformers. Times are seconds of a core (process time) on one thread, the shortest of several rounds in which the
ways take turns; `ratio` divides them by those of `before`.

- encode: pages of vistok's documentation, line by line, by `tokenizers`; as one text: all of it at once
- alone: the same lines by `load_text_tokenizer`, which encodes text alone
- decode: the ids of these lines
- load, save: `tokenizers`; AutoTokenizer: `from_pretrained` of transformers
- MB: size of the folder

Without a tokenizer.json, a byte-level BPE of 8,192 ids is trained on the pages.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from vistok.language.extend_tokenizer import ONE_CODEBOOK, extend_tokenizer
from vistok.language.text_tokenizers import load_text_tokenizer

PAGES = sorted((Path(__file__).parents[1] / "docs").rglob("*.md"))
WAYS = ("before", "vocabulary", "special tokens", "added tokens")
QUICK, SLOW = 12, 3
"""Rounds of what takes little and what takes long."""


def trained() -> Tokenizer:
    """Return a byte-level BPE of the pages."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=8192, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train([str(page) for page in PAGES], trainer)
    return tokenizer


def extended(tokenizer: Tokenizer, way: str, codes: int) -> Tokenizer:
    """Put the names of codes into a copy of a tokenizer."""
    larger = Tokenizer.from_str(tokenizer.to_str())
    names = [ONE_CODEBOOK.format(code=code) for code in range(codes)]
    if way == "vocabulary":
        extend_tokenizer(larger, codes, structure={}, separator=None)
    elif way == "special tokens":
        larger.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    elif way == "added tokens":
        larger.add_tokens([AddedToken(name, normalized=False) for name in names])
    return larger


def seconds(work: Callable[[], Any]) -> float:
    """Return the seconds of a core that some work takes."""
    before = time.process_time()
    work()
    return time.process_time() - before


def works(folder: Path, lines: list[str]) -> Iterator[tuple[str, int, Callable[[], Any]]]:
    """Yield what is measured of a tokenizer in a folder: a name, rounds, and the work."""
    file = str(folder / "tokenizer.json")
    tokenizer, alone = Tokenizer.from_file(file), load_text_tokenizer(folder, threads=False)
    text, ids = (
        "".join(lines),
        [encoding.ids for encoding in tokenizer.encode_batch_fast(lines, add_special_tokens=False)],
    )
    yield "encode", QUICK, lambda: tokenizer.encode_batch_fast(lines, add_special_tokens=False)
    yield "encode as one text", QUICK, lambda: tokenizer.encode_batch_fast([text], add_special_tokens=False)
    yield "encode alone", QUICK, lambda: alone.encode_batch(lines)
    yield "decode", QUICK, lambda: tokenizer.decode_batch(ids)
    yield "load", SLOW, lambda: Tokenizer.from_file(file)
    yield "load alone", SLOW, lambda: load_text_tokenizer(folder)
    yield "AutoTokenizer", SLOW, lambda: AutoTokenizer.from_pretrained(folder)
    yield "save", SLOW, lambda: tokenizer.save(str(folder / "again.json"))


def measured(tokenizer: Tokenizer, codes: int, lines: list[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Return seconds and ratios of each work, by way."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = {way: Path(temporary) / way for way in WAYS}
        for way, folder in folders.items():
            PreTrainedTokenizerFast(tokenizer_object=extended(tokenizer, way, codes)).save_pretrained(folder)
        size = {way: sum(file.stat().st_size for file in folder.iterdir()) / 1e6 for way, folder in folders.items()}
        times: dict[str, dict[str, float]] = {}
        for turn in zip(*(works(folder, lines) for folder in folders.values()), strict=True):
            name, rounds, _ = turn[0]
            taken = [[seconds(work) for _, _, work in turn] for _ in range(rounds)]
            times[name] = dict(zip(WAYS, map(min, zip(*taken, strict=True)), strict=True))
    return {name: _entry(of_ways, 4) for name, of_ways in times.items()} | {"MB": _entry(size, 1)}


def _entry(values: dict[str, float], digits: int) -> dict[str, dict[str, float]]:
    shown = {way: round(value, digits) for way, value in values.items()}
    return {"value": shown, "ratio": {way: round(value / values["before"], 2) for way, value in values.items()}}


def main() -> None:
    """Measure each tokenizer, print the ratios, and write all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="tokenizer.json of language models")
    parser.add_argument("--codes", type=int, default=131_072)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    tokenizers = {Path(file).stem: Tokenizer.from_file(file) for file in arguments.files} or {"trained": trained()}
    lines = [line for page in PAGES for line in page.read_text().splitlines(keepends=True)]
    results = {}
    for name, tokenizer in tokenizers.items():
        table = measured(tokenizer, arguments.codes, lines)
        results[name] = {"ids": tokenizer.get_vocab_size(), **table}
        print(f"{name}, {tokenizer.get_vocab_size()} ids\n{'':20}" + "".join(f"{way:>16}" for way in WAYS))
        for work, entry in table.items():
            print(f"{work:20}" + "".join(f"{entry['ratio'][way]:16.2f}" for way in WAYS))
        report = {
            "codes": arguments.codes,
            "lines": len(lines),
            "characters": sum(map(len, lines)),
            "tokenizers": results,
        }
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
