"""detokenize-images: token shards back to pictures."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track

from ...images.saving import save_png
from ...pretrained import DEFAULT_MODEL
from ...terminal import check_output_folder, counted, one_sentence
from ..api import Tokenizer, load
from ..manifest import Manifest, read_manifest
from ..shards import MANIFEST_FILE, TokenSample, read_samples, sidecars

app = typer.Typer(add_completion=False, rich_markup_mode=None)
console = Console(highlight=False)


@app.command()
def detokenize_images(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="SHARD_OR_DIR...", help="Token shards, or folders that tokenize-images wrote.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the pictures, KEY.png each.")],
    model: Annotated[str, typer.Option(help="Built-in name, tokenizer folder, or hf://owner/repo.")] = DEFAULT_MODEL,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="cuda if there is one")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace pictures that are there already.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Turn token shards back into pictures, with the tokenizer that made them."""
    with one_sentence("detokenize-images", debug):
        check_output_folder(out)
        tokenizer = load(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
        shards = _shards(inputs)
        manifests = {folder: _manifest(folder, tokenizer) for folder in {shard.parent for shard in shards}}
        if not overwrite:
            _refuse_replacing(out, shards)
        written = 0
        for shard in track(shards, description="", console=Console(stderr=True), transient=True):
            for sample in read_samples(shard):
                _write_picture(out, sample, tokenizer, manifests[shard.parent])
                written += 1
        counts = f"{counted(written, 'picture')} from {counted(len(shards), 'shard')}"
        console.print(f"{counts} in {out}", markup=False, soft_wrap=True)


def main() -> None:
    """Run the command."""
    app()


def _shards(inputs: list[Path]) -> list[Path]:
    shards = []
    for path in inputs:
        if path.is_dir():
            found = [path / sidecar.shard for sidecar in sidecars(path)]
            if not found:
                raise ValueError(f"{path} holds no token shards: give a folder that tokenize-images wrote.")
            shards += found
        elif path.is_file():
            shards.append(path)
        else:
            raise ValueError(f"{path} does not exist: give token shards, or folders that tokenize-images wrote.")
    return shards


def _manifest(folder: Path, tokenizer: Tokenizer) -> Manifest:
    manifest = read_manifest(folder)
    if manifest is None:
        raise ValueError(f"{folder} has no {MANIFEST_FILE}, which says what tokenizer made its shards: put it back.")
    fingerprint = tokenizer.with_preprocessing(manifest.preprocessing).fingerprint
    if fingerprint != manifest.fingerprint:
        raise ValueError(
            f"{folder} holds tokens of {manifest.fingerprint[:12]}, but this tokenizer is {fingerprint[:12]}: give "
            "--model the tokenizer that made them."
        )
    return manifest


def _write_picture(out: Path, sample: TokenSample, tokenizer: Tokenizer, manifest: Manifest) -> None:
    image = tokenizer.decode(torch.from_numpy(sample.tokens.astype("int64")).unsqueeze(0))[0]
    if manifest.preprocessing.size == "native":
        image = image.crop((0, 0, sample.facts["width"], sample.facts["height"]))
    save_png(_picture_path(out, sample.key), image)


def _picture_path(out: Path, key: str) -> Path:
    path = out / f"{key}.png"
    if not path.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"Key {key!r} would be written outside {out}: this shard was not made by vistok.")
    return path


def _refuse_replacing(out: Path, shards: list[Path]) -> None:
    keys: set[str] = set()
    for shard in shards:
        for sample in read_samples(shard):
            path = _picture_path(out, sample.key)
            if path.exists():
                raise ValueError(f"{path} is there already: give another --out folder, or --overwrite to replace it.")
            if sample.key in keys:
                raise ValueError(
                    f"{path} would be written twice, last from {shard}: give each shard its --out folder, or --overwrite to "
                    "keep the last."
                )
            keys.add(sample.key)
