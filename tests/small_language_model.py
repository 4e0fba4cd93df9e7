"""A language model of transformers with its text tokenizer, small enough for tests."""

import pytest

transformers = pytest.importorskip("transformers")

from small_text_tokenizers import byte_level  # noqa: E402


def save_language_model(folder, **options):
    """Save a Llama of one layer, and a byte-level tokenizer that spells any text."""
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level(), eos_token="<|endoftext|>")
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(
        **sizes | {"vocab_size": len(tokenizer), "eos_token_id": 0, "bos_token_id": 0, "pad_token_id": 0} | options
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
