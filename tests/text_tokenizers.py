"""A small text tokenizer of a language model: bytes and a few merges, with the structure tokens of images."""

import json

from vistok.sequences.vocabulary import STRUCTURE

SPECIAL = ("<s>", "</s>", "<pad>", *STRUCTURE.values())


def write_text_tokenizer(path, special=SPECIAL, lowercase=False):
    """Write a tokenizer.json that encodes any text byte by byte, or with merges, and return its path."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(special),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        ["a photo of a cat on the sofa", "the caption of a row", "a red coat 0 1 2 3"], trainer
    )
    path.write_text(tokenizer.to_str())
    assert json.loads(path.read_text())["model"]["type"] == "BPE"
    return path
