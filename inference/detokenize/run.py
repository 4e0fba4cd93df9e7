"""The whole of detokenize-images, from its options to the images."""

import os
from collections.abc import Generator, Iterable
from itertools import count
from pathlib import Path
from typing import NamedTuple

from ...cli.options import check_output_folder
from ...cli.progress import ProgressLine, track
from ...images.saving import mark_of
from ...images.tars.blocks import DamagedShard
from ...tokenizer.devices import find_device
from ...tokenizer.files import remove_asides
from ...tokenizer.folder_lock import hold_folder
from ...tokenizer.wording import pluralize
from ..api import Tokenizer, load
from ..arithmetic import PLAIN_DECODER, DecoderChoice
from ..token_shards.formats import open_samples
from ..token_shards.manifest import manifest_of
from ..token_shards.sidecar import MANIFEST_FILE
from ..token_shards.store import Store
from .checking import FolderDecoder, ImageJob, check, folder_decoder
from .paths import image_paths
from .stream import Tally, save_images
from .verified_shards import TokenShard, find_shards, verified_keys


class Outcome(NamedTuple):
    """What a call did."""

    out: Path
    shards: int
    written: int
    there_before: int
    failures: list[str]
    damaged: list[str]

    @property
    def has_failed(self) -> bool:
        """Whether something did not come back."""
        return bool(self.failures or self.damaged)

    def lines(self) -> list[str]:
        """Return lines for people."""
        before = f", {self.there_before} there before" if self.there_before else ""
        lines = [f"{pluralize(self.written, 'image')} from {pluralize(self.shards, 'shard')} in {self.out}{before}"]
        lines += [f"  failed: {reason}" for reason in self.failures]
        return lines + [f"  damaged: {sentence}" for sentence in self.damaged]


def detokenize(
    inputs: list[str],
    out: Path,
    model: str | None,
    device: str,
    batch_size: int | None,
    overwrite: bool,
    quiet: bool,
    decoder: DecoderChoice = PLAIN_DECODER,
) -> Outcome:
    """Decode token shards; raise ValueError for a wrong call, OSError when the disk refuses."""
    check_output_folder(out)
    files, damaged = find_shards(inputs)
    decoders = _decoders(files, model, device, decoder)
    shards: dict[TokenShard, list[str]] = {}
    for shard, sidecar in track(files.items(), "shards", quiet=quiet):
        try:
            shards[shard] = verified_keys(shard, sidecar, decoders[shard.store].shard_format)
        except DamagedShard as error:
            damaged.append(str(error))
    paths = dict(
        zip(shards, image_paths([(Path(shard.name).stem, keys) for shard, keys in shards.items()]), strict=True)
    )
    if not overwrite:
        _refuse_replacing(_jobs(paths, decoders, out))
    with (
        hold_folder(out, "detokenize-images"),
        ProgressLine(total=sum(map(len, paths.values())), quiet=quiet) as line,
    ):

        def report(tally: Tally) -> None:
            failed = len(tally.problems)
            done = tally.written + tally.there_before + failed
            line.update(done, note=f"{failed} failed" if failed else "")

        tally = Tally(report)
        save_images(_jobs(paths, decoders, out), batch_size, tally, find_device(device).type)
        for folder in {(out / path).parent for row in paths.values() for path in row}:
            if folder.is_dir():
                remove_asides(folder)
    return Outcome(out, len(shards), tally.written, tally.there_before, tally.failures, damaged)


def _decoders(
    shards: Iterable[TokenShard], named: str | None, device: str, decoder: DecoderChoice
) -> dict[Store, FolderDecoder]:
    loaded: dict[str, Tokenizer] = {}
    decoders = {}
    for folder in dict.fromkeys(shard.store for shard in shards):
        manifest = manifest_of(folder)
        if manifest is None:
            raise ValueError(f"{folder} has no {MANIFEST_FILE}, which names the tokenizer of its shards: put it back.")
        model = named or manifest.model
        if model not in loaded:
            loaded[model] = load(model, device)
        decoders[folder] = folder_decoder(folder, manifest, loaded[model], model, decoder)
    return decoders


def _jobs(
    paths: dict[TokenShard, list[str]], decoders: dict[Store, FolderDecoder], out: Path
) -> Generator[ImageJob, None, None]:
    """Yield the images of all shards; each can be read until the next is asked for."""
    numbers = count()
    for shard, row in paths.items():
        decoder = decoders[shard.store]
        with open_samples(*shard, decoder.shard_format) as samples:
            for sample, path in zip(samples, row, strict=True):
                yield ImageJob(next(numbers), sample, out / path, f"{shard}: {sample.key}", decoder)


def _refuse_replacing(jobs: Iterable[ImageJob]) -> None:
    for job in jobs:
        if os.path.lexists(job.path) and _is_another(job):
            raise ValueError(f"{job.path} is there already: give another --out folder, or --overwrite to replace it.")


def _is_another(job: ImageJob) -> bool:
    """Return whether the file that is there is not the image; one that does not fit its tokenizer is named later."""
    try:
        mark = check(job).mark
    except ValueError:
        return False
    return mark_of(job.path) != mark
