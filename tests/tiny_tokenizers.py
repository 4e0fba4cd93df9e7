"""Tokenizers of transformers that are trained in a moment; whoever calls them skips where it is missing."""

import tokenizers
import transformers

CORPUS = [f"{y}*{x} {y} {x} of a photo" for y in range(0, 130, 3) for x in range(0, 130, 7)]


def trained_tokenizer(named, others=()):
    """Return a byte-level BPE that groups up to three digits, with special tokens by attribute and codes behind them."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    digits = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"\p{N}{1,3}"), "isolated")
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [digits, tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    plain = tokenizer.to_str()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, extra_special_tokens=named)
    fast.add_tokens([tokenizers.AddedToken(name, special=True, normalized=False) for name in others])
    return fast, Text(fast, tokenizers.Tokenizer.from_str(plain))


class Text:
    """A text tokenizer: text as the plain tokenizer has it, tokens by name as the extended one."""

    def __init__(self, fast, plain):
        self.fast, self.plain = fast, plain
        self.size, self.special_tokens = len(fast), tuple(fast.get_added_vocab())

    def encode(self, text):
        return self.plain.encode(text).ids

    def encode_batch(self, texts):
        return [encoding.ids for encoding in self.plain.encode_batch(texts)]

    def decode(self, ids):
        return self.fast.decode(ids)

    def id_of(self, token):
        return self.fast.get_vocab().get(token)
