"""Token shards as batches for a language model: each image a row of ids, with a begin and an end.

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

from vistok.sequences.layouts import Layout, build_layout
from vistok.sequences.vocabulary import image_vocabulary


def to_ids(layout: Layout, sample: dict) -> torch.Tensor:
    """Return the ids of an image from its tokens `q y x`."""
    return layout.ids(torch.from_numpy(sample["tokens.npy"].astype("int64")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("--batch-size", type=int, default=2)
    arguments = parser.parse_args()

    manifest = json.loads((arguments.tokens / "manifest.json").read_text())
    shards = sorted(str(path) for path in arguments.tokens.glob("*.tar"))
    vocabulary = image_vocabulary(manifest["vocab_size"], manifest["num_codebooks"], roles=("begin", "end"))
    layout = build_layout("interleaved", vocabulary, frame="ends")
    dataset = webdataset.WebDataset(shards, shardshuffle=False).decode().map(partial(to_ids, layout))
    embedding = torch.nn.Embedding(vocabulary.size, 16)
    for ids in DataLoader(dataset, batch_size=arguments.batch_size):
        print(f"ids {tuple(ids.shape)}, from {ids.min()} to {ids.max()}, embedded {tuple(embedding(ids).shape)}")


if __name__ == "__main__":
    main()
