"""detokenize-images: token shards back to pictures."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track

from ...pretrained import DEFAULT_MODEL
from ...terminal import one_sentence
from ..api import Tokenizer, load
from ..shards import MANIFEST_FILE, Manifest, TokenSample, read_manifest, read_samples, sidecars

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
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Turn token shards back into pictures, with the tokenizer that made them."""
    with one_sentence("detokenize-images", debug):
        tokenizer = load(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
        shards = _shards(inputs)
        manifests = {folder: _manifest(folder, tokenizer) for folder in {shard.parent for shard in shards}}
        written = 0
        for shard in track(shards, description="", console=Console(stderr=True), transient=True):
            for sample in read_samples(shard):
                _write_picture(out, sample, tokenizer, manifests[shard.parent])
                written += 1
        console.print(f"{written} pictures from {len(shards)} shards in {out}", markup=False, soft_wrap=True)


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
    path = out / f"{sample.key}.png"
    if not path.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"Key {sample.key!r} would be written outside {out}: this shard was not made by vistok.")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
