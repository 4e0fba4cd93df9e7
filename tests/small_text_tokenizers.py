"""Small text tokenizers of every kind that `tokenizers` has, trained on a few sentences in milliseconds."""

import json
from functools import cache

import pytest

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402

SENTENCES = [
    "a photo of a dog that runs on the beach",
    "two red birds sit on a branch; the third one flies",
    "the house at the end of the street, painted in 1923 <and> again in [2020]",
    "a tall glass of water | a cup of tea",
    "visual token, image start, image end and end of text: words that a caption may hold",
]
SPECIAL = ["<|endoftext|>", "<s>", "[MASK]"]
TEXTS = [*SENTENCES, "", " ", "  two  spaces", "unsung: zebra, quiz <x> 1234567890", "a\nb"]
EVIL = [
    "say <|endoftext|> and <s> and [MASK] now",
    "<|endoftext|>",
    "<tool_call>",
    "<s>",
    "[MASK]",
    "<|visual token 000000|>",
    "<|visual token 000007|><|visual token 000001|> and <|image start|>",
    "<|image start|>",
]
CAPTION = [*TEXTS, *EVIL]


def copies(train):
    """Train once, as some trainers give other ids the next time, and return a function that returns copies."""
    trained = cache(lambda *options: train(*options).to_str())
    return lambda *options: Tokenizer.from_str(trained(*options))


@copies
def byte_level(ignore_merges=False):
    """As GPT-2 and Llama 3."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=SPECIAL,
        show_progress=False,
    )
    return _trained(tokenizer, trainer)


@copies
def whole_text_is_a_word():
    """BPE that takes any text that is in its vocabulary as a whole: the worst case of `ignore_merges`."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=SPECIAL, show_progress=False)
    tokenizer.decoder = decoders.Fuse()
    return _trained(tokenizer, trainer)


@copies
def sentencepiece_bpe():
    """As Llama 2 and Gemma: spaces are a letter, unknown characters are bytes."""
    tokens = [*SPECIAL, "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    trained = _trained(tokenizer, trainers.BpeTrainer(vocab_size=450, special_tokens=tokens, show_progress=False))
    return _without_added(trained, tokens[len(SPECIAL) + 1 :])


@copies
def unigram():
    """As T5: pieces with scores, those of special tokens 0."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=[*SPECIAL, "<unk>"], unk_token="<unk>", show_progress=False
    )
    return _trained(tokenizer, trainer)


@copies
def word_piece():
    """As BERT, but split at spaces alone, so that a special token is one word."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]", *SPECIAL], show_progress=False)
    return _trained(tokenizer, trainer)


KINDS = {
    "byte level": byte_level,
    "byte level, ignore_merges": lambda: byte_level(True),
    "whole text": whole_text_is_a_word,
    "sentencepiece": sentencepiece_bpe,
    "unigram": unigram,
    "word piece": word_piece,
}


def _trained(tokenizer, trainer):
    tokenizer.train_from_iterator([*SENTENCES, *EVIL, *TEXTS, "<tool_call>"], trainer)
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("   ", normalized=False)])
    return tokenizer


def _without_added(tokenizer, names):
    definition = json.loads(tokenizer.to_str())
    definition["added_tokens"] = [token for token in definition["added_tokens"] if token["content"] not in names]
    return Tokenizer.from_str(json.dumps(definition))
