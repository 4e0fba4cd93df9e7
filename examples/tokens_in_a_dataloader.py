"""Token shards as batches for a language model: each image a row of ids, its grid in raster order.

    tokenize-images tests/photos --out tokens
    python examples/tokens_in_a_dataloader.py tokens

Needs webdataset, which reads the shards as they are: pip install webdataset
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch
import webdataset
from torch.utils.data import DataLoader

from vistok.sequences.layouts import Layout, RasterLayout

BEGIN_OF_IMAGE = 0
TEXT_VOCABULARY = 32_000
"""Image tokens come after the ids of the text tokenizer in this example."""


def to_ids(layout: Layout, sample: dict) -> torch.Tensor:
    """Return the ids of an image: a begin mark, then its tokens `q y x` in the order of a layout."""
    tokens = torch.from_numpy(sample["tokens.npy"].astype("int64"))
    return torch.cat([torch.tensor([BEGIN_OF_IMAGE]), layout.ids(tokens)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("--batch-size", type=int, default=2)
    arguments = parser.parse_args()

    manifest = json.loads((arguments.tokens / "manifest.json").read_text())
    shards = sorted(str(path) for path in arguments.tokens.glob("*.tar"))
    vocab_size, num_codebooks = manifest["vocab_size"], manifest["num_codebooks"]
    layout = RasterLayout(vocab_size, num_codebooks, offset=TEXT_VOCABULARY)
    dataset = webdataset.WebDataset(shards, shardshuffle=False).decode().map(partial(to_ids, layout))
    embedding = torch.nn.Embedding(TEXT_VOCABULARY + num_codebooks * vocab_size, 16)
    for ids in DataLoader(dataset, batch_size=arguments.batch_size):
        print(f"ids {tuple(ids.shape)}, from {ids.min()} to {ids.max()}, embedded {tuple(embedding(ids).shape)}")


if __name__ == "__main__":
    main()
