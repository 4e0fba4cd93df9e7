"""How many image tokens pack-sequences packs per second on one core, and where the time goes.

    python scripts/pack_speed.py --images 8000 --layout emu3 --format megatron

Makes shards of random tokens with captions of about 20 words, and a text tokenizer with merges, in a temporary folder.
Packs them in one process that is bound to one core, and then times each stage alone, on the same shards.
"""

import argparse
import hashlib
import io
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from vistok.images.file_entry import file_entry
from vistok.inference.inputs.samples import Companion
from vistok.inference.inputs.views import ONE_ROW
from vistok.inference.pack.documents import TextOnly, image_ids
from vistok.inference.pack.job import PackJob
from vistok.inference.pack.plan import plan_tasks
from vistok.inference.pack.request import Request, make_job
from vistok.inference.pack.shard import ShardPacking, pack_shard
from vistok.inference.packed_shards.formats import PACKED_FORMATS
from vistok.inference.packed_shards.sidecar import Counts
from vistok.inference.token_dataset.folder import open_folder
from vistok.inference.token_shards.formats import SHARD_FORMATS, shard_files
from vistok.inference.token_shards.manifest import Manifest, write_manifest
from vistok.inference.token_shards.shard_file import described
from vistok.inference.token_shards.sidecar import Sidecar, write_sidecar
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.token_shards.token_samples import TokenSample
from vistok.sequences.vocabulary import STRUCTURE
from vistok.tokenizer.preprocessing import PreprocessingConfig

CODES = 65_536
SHARD = 1000
WORDS = 20
SIDES = (16, 32)


def captions(count: int) -> list[str]:
    """Return sentences of about 20 words, out of 4,000 that are made up; common ones come more often."""
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlucmfw", k=draw.randint(2, 9))) for _ in range(4000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return [" ".join(draw.choices(words, weights, k=draw.randint(WORDS - 5, WORDS + 5))) for _ in range(count)]


def write_text_tokenizer(path: Path, texts: list[str]) -> None:
    """Write the tokenizer.json of a BPE of 8,000 ids, trained on texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>", *STRUCTURE.values()]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=8000, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(path))


def write_tokens(folder: Path, texts: list[str], side: int, form: str) -> None:
    """Write a folder of token shards with a caption for each image."""
    folder.mkdir()
    beside = folder.parent / "captions"
    beside.mkdir(exist_ok=True)
    shard_format, store = SHARD_FORMATS[form], LocalStore(folder)
    generator = np.random.default_rng(0)
    for first in range(0, len(texts), SHARD):
        samples = []
        for index, text in enumerate(texts[first : first + SHARD], first):
            path = beside / f"{index}.txt"
            path.write_text(text)
            tokens = generator.integers(0, CODES, (1, side, side), np.uint16)
            metadata = {"source": f"{index}.jpg", "width": 512, "height": 512, "sha256": f"{index:064x}"}
            samples.append(
                TokenSample(f"{index:09d}", tokens, metadata, [Companion("txt", file_entry(str(path), path.name))])
            )
        shard = f"{first // SHARD:05d}{shard_format.suffixes[0]}"
        names = shard_files(shard, shard_format)
        with store.replace(names) as files:
            shard_format.write(files, samples)
            found = list(map(described, names, files))
        sidecar = Sidecar(
            shard=shard, fingerprint="f" * 64, precision="float32", keep="all", views=ONE_ROW, inputs="i" * 64,
            content=hashlib.sha256(shard.encode()).hexdigest(), images=len(samples), rows=len(samples), failures=[],
            passed_over={}, files=found,
        )  # fmt: skip
        write_sidecar(store, sidecar)
    manifest = Manifest(
        model="hf://someone/something", fingerprint="f" * 64, precision="float32", format=form, keep="all", vocab_size=CODES,
        num_codebooks=1, downsample=16, dtype="uint16", preprocessing=PreprocessingConfig(size=512),
    )  # fmt: skip
    write_manifest(store, manifest)


class Spent(NamedTuple):
    """What a call took."""

    wall: float
    cpu: float
    """Seconds of the processor: what the wall would have been, had no other program run on the core."""


def timed(call: Callable[[], Any]) -> tuple[Spent, Any]:
    """Return the seconds of a call, and what it gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu), result


def stages(job: PackJob) -> dict[str, float]:
    """Return the seconds of the processor for each stage alone, over all shards."""
    seconds: dict[str, float] = {}

    def add(name: str, call: Callable[[], Any]) -> Any:
        spent, result = timed(call)
        seconds[name] = seconds.get(name, 0.0) + spent.cpu
        return result

    for task in plan_tasks(job.source):
        packing = ShardPacking(job, lambda _: None)
        windows = add("read the token shard", lambda packing=packing, task=task: list(packing.windows(task)))
        text = TextOnly(job.text, job.vocabulary)
        for window in windows:
            texts = [each for sample in window for each in (sample.before, sample.after)]
            add("encode captions", lambda texts=texts, text=text: text.encode(texts))
            add("tokens to ids", lambda window=window: image_ids(window, job.layout, job.manifest.settings.dtype))
        documents = [document for window in windows for document in packing.documents(window)]
        rows = add(
            "join rows, digests", lambda packing=packing, documents=documents: list(packing.builder.rows(documents))
        )
        files = [io.BytesIO() for _ in job.packed_format.suffixes]
        add("write", lambda files=files, rows=rows: job.packed_format.write(files, rows, job.manifest.settings.dtype))
    return seconds


def request(folder: Path, arguments: argparse.Namespace, out: Path) -> Request:
    """Return the call that is measured."""
    return Request(
        tokens=str(folder), out=str(out), text_tokenizer=str(folder.parent / "tokenizer.json"), vocabulary=None, extend=False,
        layout=arguments.layout, layout_options=[], packed_format=arguments.format, order=None, template=None, caption="txt",
        on_missing="skip", bos="<s>", eos="</s>", pad="<pad>", length=arguments.length, loss="both", mask_at="target",
        skip_incomplete=False, workers=1, overwrite=False, quiet=True,
    )  # fmt: skip


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row for each size of the grid."""
    texts = captions(arguments.images)
    for side in SIDES:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            write_text_tokenizer(root / "tokenizer.json", texts[:2000])
            write_tokens(root / "tokens", texts, side, arguments.tokens)
            job = make_job(request(root / "tokens", arguments, root / "out"), open_folder(str(root / "tokens")))
            (root / "out").mkdir()
            job.layout, job.text  # noqa: B018  # loading them is no part of the rate
            tasks = plan_tasks(job.source)
            pack_shard(tasks[0], job, lambda _: None)
            spent, results = timed(
                lambda job=job, tasks=tasks: [pack_shard(task, job, lambda _: None) for task in tasks]
            )
            tokens = side * side * len(texts)
            yield {
                "tokens_per_image": side * side,
                "images": len(texts),
                "shards_of": arguments.tokens,
                "layout": arguments.layout,
                "format": arguments.format,
                "length": arguments.length,
                "fill": round(sum((result.counts for result in results), Counts()).fill, 4),
                "image_tokens_per_second": round(tokens / spent.wall),
                "image_tokens_per_second_of_cpu": round(tokens / spent.cpu),
                "microseconds_per_image": round(spent.cpu / len(texts) * 1e6, 1),
                "stages": {each: round(part / len(texts) * 1e6, 1) for each, part in stages(job).items()},
            }


def main() -> None:
    """Print a line of JSON for each size of the grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--layout", default="emu3")
    parser.add_argument("--format", choices=list(PACKED_FORMATS), default="megatron")
    parser.add_argument("--tokens", choices=list(SHARD_FORMATS), default="wds", help="format of the token shards")
    parser.add_argument("--length", type=int)
    arguments = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = "1"  # which tokenizers reads when it encodes its first batch
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for row in measure(arguments):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
