"""The whole of unpack-sequences, from its options to the images and captions."""

import os
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
from ..api import load
from ..arithmetic import PLAIN_DECODER, DecoderChoice
from ..detokenize.checking import ImageJob, check, folder_decoder
from ..detokenize.paths import image_paths
from ..detokenize.stream import Tally, save_images
from ..packed_shards.folder import PackedFolder
from ..packed_shards.formats import open_rows
from ..packed_shards.sidecar import PackedSidecar
from ..token_shards.shard_file import file_that_differs
from .documents import Captions, Unpacking


class Outcome(NamedTuple):
    """What a call did."""

    out: Path
    shards: int
    written: int
    there_before: int
    captions: int
    changed: list[str]
    """Keys of captions that are not the very text that was packed."""
    failures: list[str]
    damaged: list[str]

    @property
    def has_failed(self) -> bool:
        """Whether something did not come back."""
        return bool(self.failures or self.damaged)

    def lines(self) -> list[str]:
        """Return lines for people."""
        before = f", {self.there_before} there before" if self.there_before else ""
        lines = [
            f"{pluralize(self.written, 'image')} from {pluralize(self.shards, 'shard')} in {self.out}{before}",
            f"{pluralize(self.captions, 'caption')}, {self.captions - len(self.changed)} the very text that was packed",
        ]
        if self.changed:
            lines.append(f"  changed by the text tokenizer, as it normalizes text: {', '.join(self.changed[:5])}")
        lines += [f"  failed: {reason}" for reason in self.failures]
        return lines + [f"  damaged: {sentence}" for sentence in self.damaged]


def unpack(
    path: str,
    out: Path,
    text_tokenizer: str | None,
    model: str | None,
    device: str,
    batch_size: int | None,
    overwrite: bool,
    quiet: bool,
    chosen: DecoderChoice = PLAIN_DECODER,
) -> Outcome:
    """Write the images and captions of a folder; raise ValueError for a wrong call, OSError when the disk refuses."""
    check_output_folder(out)
    folder = PackedFolder(path)
    layout, text = folder.layout, folder.text(text_tokenizer)
    shards, damaged = folder.shards()
    keys: dict[str, list[str]] = {}
    for sidecar in track(shards, "shards", quiet=quiet):
        try:
            keys[sidecar.shard] = _verified_keys(folder, sidecar)
        except DamagedShard as error:
            damaged.append(str(error))
    named = model or folder.manifest.tokens.model
    decoder = folder_decoder(folder.store, folder.manifest.tokens, load(named, device), named, chosen)
    work = Unpacking(folder, layout, decoder, text, dict(zip(keys, image_paths(list(keys.items())), strict=True)), out)
    if not overwrite:
        _refuse_replacing(work)
    total = sum(map(len, keys.values()))
    captions = Captions()
    with hold_folder(out, "unpack-sequences"), ProgressLine(total=total, quiet=quiet) as line:

        def report(tally: Tally) -> None:
            line.update(tally.written + tally.there_before + len(tally.problems))

        tally = Tally(report)
        save_images(work.jobs(captions), batch_size, tally, find_device(device).type)
        for parent in {(out / path).parent for row in work.paths.values() for path in row}:
            if parent.is_dir():
                remove_asides(parent)
    failures = tally.failures + captions.failures
    return Outcome(
        out, len(keys), tally.written, tally.there_before, captions.written, captions.changed, failures, damaged
    )


def _verified_keys(folder: PackedFolder, sidecar: PackedSidecar) -> list[str]:
    """Compare a shard with its sidecar and list its keys; raise DamagedShard, with a sentence, when it is not whole."""
    try:
        if differing := file_that_differs(folder.store, sidecar.files):
            raise DamagedShard(
                f"{folder.store.path_of(differing)} does not match its sidecar (SHA-256): pack it again."
            )
        with open_rows(folder.store, sidecar.shard, folder.packed_format) as rows:
            return [document.key for row in rows for document in row.documents]
    except OSError as error:
        what = error.filename or folder.store.path_of(sidecar.shard)
        raise DamagedShard(f"{what} cannot be read ({error.strerror}): pack it again.") from None


def _refuse_replacing(work: Unpacking) -> None:
    for job in work.jobs(None):
        if os.path.lexists(job.path) and _is_another(job):
            raise ValueError(f"{job.path} is there already: give another --out folder, or --overwrite to replace it.")


def _is_another(job: ImageJob) -> bool:
    """Return whether the file that is there is not the image; one that does not fit its tokenizer is named later."""
    try:
        mark = check(job).mark
    except ValueError:
        return False
    return mark_of(job.path) != mark
