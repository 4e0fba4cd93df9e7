"""Causal language models of transformers with random weights, and vocabularies for them."""

import pytest
import torch

transformers = pytest.importorskip("transformers")

from vistok.sequences.modality import Modality  # noqa: E402
from vistok.sequences.vocabulary import Vocabulary  # noqa: E402

TEXT, CODES, DIM = 200, 300, 16
SMALL = {
    "hidden_size": DIM,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": TEXT,
}
SPECIAL = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}


def vocabulary(text=TEXT, codes=CODES, codebooks=1):
    first = text + codes * codebooks
    image = Modality("image", tuple(range(text, first, codes)), codes, {"begin": first, "end": first + 1, "row_end": 3})
    return Vocabulary((Modality("text", (0,), text), image))


def llama(tied=False, **options):
    config = transformers.LlamaConfig(**SMALL | SPECIAL | options, num_key_value_heads=2, tie_word_embeddings=tied)
    return transformers.LlamaForCausalLM(config)


def gpt2():
    config = transformers.GPT2Config(n_embd=DIM, n_layer=1, n_head=2, vocab_size=TEXT, n_positions=64, **SPECIAL)
    return transformers.GPT2LMHeadModel(config)


def gemma():
    """Its embedding is multiplied by a constant."""
    return transformers.Gemma3ForCausalLM(
        transformers.Gemma3TextConfig(**SMALL | SPECIAL, num_key_value_heads=2, head_dim=8)
    )


def phi():
    """Its head is not tied and has a bias."""
    model = transformers.PhiForCausalLM(transformers.PhiConfig(**SMALL | SPECIAL))
    torch.nn.init.normal_(model.lm_head.bias)
    return model
