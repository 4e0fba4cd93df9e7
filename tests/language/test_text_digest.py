"""The digest of a text tokenizer: equal if and only if texts have equal ids, whatever tokens of images it has."""

import json

import pytest

from small_text_tokenizers import KINDS, TEXTS, Tokenizer, tokenizers
from vistok.language.extend_tokenizer import extend_tokenizer
from vistok.language.text_tokenizers import load_text_tokenizer, text_tokenizer_of
from vistok.sequences.vocabulary import Vocabulary

EXTENSIBLE = [kind for kind in KINDS if kind != "whole text"]


@pytest.mark.parametrize("kind", EXTENSIBLE)
def test_codes_and_structure_do_not_change_it(kind, tmp_path):
    tokenizer = KINDS[kind]()
    before = text_tokenizer_of(tokenizer)
    vocabulary = extend_tokenizer(tokenizer, 30, 2, separator=None)
    tokenizer.enable_padding()
    tokenizer.enable_truncation(5)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    after = load_text_tokenizer(tmp_path)
    assert after.digest == before.digest == vocabulary.text_tokenizer
    assert after.encode_batch(TEXTS[:3]) == before.encode_batch(TEXTS[:3])
    for text in (before, after):
        vocabulary.check_text(text)
    assert Vocabulary.from_dict(vocabulary.to_dict()) == vocabulary


@pytest.mark.parametrize("kind", KINDS)
def test_other_ids_of_text_change_it(kind):
    tokenizer = KINDS[kind]()
    digest = text_tokenizer_of(tokenizer).digest
    assert text_tokenizer_of(Tokenizer.from_str(tokenizer.to_str(pretty=True))).digest == digest
    definition = json.loads(tokenizer.to_str())
    others = [definition | {"normalizer": {"type": "Lowercase"}}]
    model = dict(definition["model"])
    if isinstance(model["vocab"], dict):
        texts = [name for name in model["vocab"] if name.isalpha()][:2]
        model["vocab"] = model["vocab"] | dict(
            zip(texts, [model["vocab"][name] for name in reversed(texts)], strict=True)
        )
        others.append(definition | {"model": model})
    for other in others:
        assert text_tokenizer_of(Tokenizer.from_str(json.dumps(other))).digest != digest
    tokenizer.add_tokens([tokenizers.AddedToken("       ", normalized=False)])  # spaces are text
    assert text_tokenizer_of(tokenizer).digest != digest
