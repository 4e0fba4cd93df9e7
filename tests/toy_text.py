"""Text tokenizers of a few lines that spell numbers in different ways."""

import re

from vistok.sequences.modality import Modality
from vistok.sequences.vocabulary import STRUCTURE, Vocabulary, vocabulary_for

MARKS = tuple(STRUCTURE.values())


class Characters:
    """One id a character, then the structure tokens: "32*48" is five ids."""

    letters = 128

    def __init__(self, special_tokens=MARKS):
        self.special_tokens = special_tokens

    @property
    def size(self):
        return self.letters + len(self.special_tokens)

    def encode(self, text):
        return [ord(letter) for letter in text]

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]

    def decode(self, ids):
        return "".join(chr(i) if i < self.letters else self.special_tokens[i - self.letters] for i in ids)

    def id_of(self, token):
        if token in self.special_tokens:
            return self.letters + self.special_tokens.index(token)
        return ord(token) if len(token) == 1 else None


class Pieces(Characters):
    """Ids of the pieces that a pattern finds, in the order in which they are met."""

    letters = 100_000

    def __init__(self, pattern, special_tokens=MARKS):
        super().__init__(special_tokens)
        self.pattern, self.known = re.compile(pattern, re.DOTALL), {}

    def encode(self, text):
        return [self.known.setdefault(piece, len(self.known)) for piece in self.pattern.findall(text)]


def toy_vocabulary(vocab_size, num_codebooks=1, separator="*"):
    """Return the vocabulary of characters and an image tokenizer, whose ids come last."""
    return vocabulary_for(Characters(), vocab_size, num_codebooks, separator=separator, max_side=64)


def plain_vocabulary(*parts, **fields):
    """Return a vocabulary of image modalities from their offsets, size and structure."""
    return Vocabulary([Modality(name, *values) for name, *values in parts], **fields)
