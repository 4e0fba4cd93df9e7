"""A dataset that encodes in its workers, in a module that spawned workers can import."""

import torch
from torch.utils.data import Dataset

IMAGE = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))


class EncodedImages(Dataset):
    """Two times the tokens of one image, and what they are decoded to."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __len__(self):
        return 2

    def __getitem__(self, index):
        tokens = self.tokenizer.encode(IMAGE)
        return tokens[0], self.tokenizer.decode(tokens, output="tensor")[0]
