"""Text is encoded as text alone, whatever it says, as the tokenizer itself encodes it once its added tokens are taken out."""

import json
import pickle

import pytest

pytest.importorskip("tokenizers")

from tokenizers import Tokenizer, models

from small_text_tokenizers import (
    CAPTION,
    EVIL,
    KINDS,
    SPECIAL,
    TEXTS,
    byte_level,
    sentencepiece_bpe,
    whole_text_is_a_word,
)
from vistok.language.text_tokenizers import load_text_tokenizer, text_tokenizer_of

ADDED = [*SPECIAL, "<tool_call>"]


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param, KINDS[request.param]()


@pytest.fixture
def saved(tmp_path):
    byte_level().save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_ordinary_text_has_the_ids_that_the_tokenizer_gives_it(kind):
    tokenizer = kind[1]
    ours = text_tokenizer_of(tokenizer)
    for text in TEXTS:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        if any("unk" in token.lower() for token in encoding.tokens):
            continue
        assert ours.encode(text) == encoding.ids
        assert ours.decode(encoding.ids) == tokenizer.decode(encoding.ids, skip_special_tokens=False)


def test_text_that_spells_tokens_never_gets_their_ids(kind):
    name, tokenizer = kind
    ours = text_tokenizer_of(tokenizer)
    added = {tokenizer.token_to_id(token) for token in ADDED}
    for text in EVIL:
        ids = ours.encode(text)
        assert ids and not added & set(ids), (name, text)
        decoded = ours.decode(ids)
        assert decoded == (text if "word piece" not in name else decoded)


@pytest.mark.parametrize("threads", [True, False])
def test_a_batch_is_its_texts_one_by_one(kind, threads):
    ours = text_tokenizer_of(kind[1], threads=threads)
    texts = [text for text in CAPTION if text != "a\nb"]
    assert ours.encode_batch(texts) == [ours.encode(text) for text in texts]
    assert ours.encode_batch([]) == []


def test_ids_and_names_are_those_of_the_tokenizer(kind):
    tokenizer = kind[1]
    ours = text_tokenizer_of(tokenizer)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    assert ours.size == 1 + max(vocabulary.values())
    assert {name: ours.id_of(name) for name in vocabulary} == vocabulary
    assert ours.id_of("<nothing>") is None
    assert ours.decode([vocabulary["<s>"]]) == "<s>"


def test_runs_of_spaces_that_were_added_are_text():
    tokenizer = byte_level()
    assert tokenizer.encode("a   b").ids == text_tokenizer_of(tokenizer).encode("a   b")
    assert tokenizer.token_to_id("   ") in text_tokenizer_of(tokenizer).encode("a   b")


def test_an_added_word_is_spelled_as_text_is():
    tokenizer = byte_level()
    ids = tokenizer.encode("say img_01 now").ids
    tokenizer.add_tokens(["img_01"])
    assert tokenizer.encode("say img_01 now").ids != ids
    assert text_tokenizer_of(tokenizer).encode("say img_01 now") == ids


def test_dropout_of_merges_is_left_out():
    ours = text_tokenizer_of(byte_level())
    definition = json.loads(byte_level().to_str())
    definition["model"]["dropout"] = 0.5
    noisy = Tokenizer.from_str(json.dumps(definition))
    assert {tuple(text_tokenizer_of(noisy).encode(TEXTS[0])) for _ in range(8)} == {tuple(ours.encode(TEXTS[0]))}


def test_special_tokens_between_text_are_decoded_by_name():
    ours = text_tokenizer_of(byte_level())
    ids = [ours.id_of("<s>"), *ours.encode("a dog"), ours.id_of("<|endoftext|>"), *ours.encode("é")]
    assert ours.decode(ids) == "<s>a dog<|endoftext|>é"


def test_what_a_tokenizer_does_not_know_is_refused():
    with pytest.raises(
        ValueError, match=r"^The text 'a Ж' cannot be encoded without what this tokenizer does not know: le"
    ):
        text_tokenizer_of(whole_text_is_a_word()).encode("a Ж")  # which `tokenizers` itself drops
    with pytest.raises(
        ValueError, match=r"^The text 'Ж' cannot be encoded without the token '\[UNK\]', which is not text: l"
    ):
        text_tokenizer_of(KINDS["word piece"]()).encode_batch(["a", "Ж"])
    assert text_tokenizer_of(sentencepiece_bpe()).decode(text_tokenizer_of(sentencepiece_bpe()).encode("Ж")) == "Ж"


@pytest.mark.parametrize(
    ("text", "why"), [("a\ud800", "it holds half a surrogate pair"), (3, "it is int, but must be str")]
)
def test_what_is_not_text_is_refused(text, why):
    with pytest.raises(ValueError, match=f"cannot be encoded: {why}"):
        text_tokenizer_of(byte_level()).encode_batch(["a", text])


def test_ids_beyond_the_tokenizer_are_refused():
    ours = text_tokenizer_of(byte_level())
    with pytest.raises(
        ValueError, match=rf"^The id {ours.size} is not one of this text tokenizer's {ours.size} ids: decode"
    ):
        ours.decode([0, ours.size])


def test_it_pickles(kind):
    ours = text_tokenizer_of(kind[1])
    assert pickle.loads(pickle.dumps(ours)).encode(EVIL[0]) == ours.encode(EVIL[0])


def test_a_folder_and_its_file_are_the_same(saved):
    assert load_text_tokenizer(saved).encode(EVIL[0]) == load_text_tokenizer(str(saved / "tokenizer.json")).encode(
        EVIL[0]
    )


def test_a_repository_of_the_hub(hub):
    hub.add("owner/repo", {"tokenizer.json": byte_level().to_str().encode()})
    hub.add("owner/none", {"config.json": b"{}"})
    assert load_text_tokenizer("hf://owner/repo").encode(EVIL[0]) == text_tokenizer_of(byte_level()).encode(EVIL[0])
    with pytest.raises(
        ValueError, match=r"^hf://owner/none has no file tokenizer\.json at revision main of .* give a folder"
    ):
        load_text_tokenizer("hf://owner/none")


def test_a_folder_without_tokenizer_json_is_converted_by_transformers(tmp_path):
    pytest.importorskip("transformers")
    definition = json.loads(byte_level().to_str())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(definition["vocab"]))
    (tmp_path / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(" ".join(merge) for merge in definition["merges"])
    )
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    assert load_text_tokenizer(tmp_path).encode("a dog") == text_tokenizer_of(byte_level()).encode("a dog")
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(ValueError, match="^transformers cannot load the tokenizer in "):
        load_text_tokenizer(tmp_path)


def test_a_tokenizer_of_transformers_is_taken():
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level())
    assert text_tokenizer_of(tokenizer).encode(EVIL[0]) == text_tokenizer_of(byte_level()).encode(EVIL[0])
    with pytest.raises(
        ValueError, match="^'gpt2' is not a text tokenizer that is known: give a fast one of transformers"
    ):
        text_tokenizer_of("gpt2")


def test_a_wrong_path_is_one_sentence(tmp_path, saved):
    with pytest.raises(
        ValueError, match=r"^There is no text tokenizer at .*/missing\.json: give a folder of transformers, a"
    ):
        load_text_tokenizer(tmp_path / "missing.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ValueError, match=r"empty has no text tokenizer: it needs a tokenizer\.json, one \.tiktoken file, or"
    ):
        load_text_tokenizer(tmp_path / "empty")
    (tmp_path / "broken.json").write_text('{"model": {}}')
    with pytest.raises(ValueError, match=r"broken\.json is not a tokenizer\.json that tokenizers can read: "):
        load_text_tokenizer(tmp_path / "broken.json")
    (tmp_path / "latin.json").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"latin\.json is not JSON, as a tokenizer\.json is: 'utf-8' "):
        load_text_tokenizer(tmp_path / "latin.json")


def test_a_missing_package_is_one_sentence(saved, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(
        ValueError, match=r"^A text tokenizer of Hugging Face needs the package tokenizers: pip install '\.\[t"
    ):
        load_text_tokenizer(saved)


def test_words_of_a_word_level_model():
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "dog": 2}, unk_token="<unk>"))
    ours = text_tokenizer_of(tokenizer)
    assert ours.encode("dog") == [2]
    with pytest.raises(ValueError, match="cannot be encoded without the token '<unk>', which is not text"):
        ours.encode("<s>")
