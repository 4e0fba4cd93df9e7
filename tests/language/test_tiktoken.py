"""Encodings of tiktoken: by name, and from a file that does not say how its text is split."""

import base64
import importlib
import pickle

import pytest

tiktoken = pytest.importorskip("tiktoken")
regex = pytest.importorskip("regex")

from vistok.language import tiktoken_text  # noqa: E402
from vistok.language.extend_model import extend_model  # noqa: E402
from vistok.language.text_tokenizers import load_text_tokenizer, text_tokenizer_of  # noqa: E402
from vistok.sequences.vocabulary_behind import vocabulary_behind  # noqa: E402

TEXT = """It's 12345 o'clock — I'D say "ÄÖÜ naïve" to 東京\t  \n\n  foo_bar(x) // https://a.b/c
    ǅ He'll\r\n end   of 'S <|endoftext|> [x] 3.14\n  """
RANKS = {
    "gpt2": 50_256,
    "r50k_base": 50_256,
    "p50k_base": 50_280,
    "cl100k_base": 100_256,
    "o200k_base": 199_998,
}


def write(path, count):
    """Write the ranks of all bytes, some merges, and as many more as there must be."""
    words = [bytes([byte]) for byte in range(256)] + [b"th", b"the", b" the", b" d", b" do", b" dog", b"<|", b"|>"]
    words += [b"\0%d" % index for index in range(count - len(words))]
    path.write_bytes(b"".join(base64.b64encode(word) + b" %d\n" % index for index, word in enumerate(words)))
    return {word: index for index, word in enumerate(words)}


@pytest.mark.parametrize("name", RANKS)
def test_text_is_split_as_tiktoken_splits_it(name, monkeypatch):
    public = importlib.import_module("tiktoken_ext.openai_public")
    monkeypatch.setattr(public, "load_tiktoken_bpe", lambda *_, **__: {})
    monkeypatch.setattr(public, "data_gym_to_mergeable_bpe_ranks", lambda *_, **__: {})
    theirs = getattr(public, name)()
    ours = tiktoken_text.SPLITTINGS[RANKS[name]]
    assert regex.findall(ours.pattern, TEXT) == regex.findall(theirs["pat_str"], TEXT)
    assert dict(ours.special) == theirs["special_tokens"] and name in ours.names


@pytest.mark.parametrize(
    ("count", "text", "parts"), [(128_000, "a 1234", ["a", " ", "123", "4"]), (151_643, "12", ["1", "2"])]
)
def test_llama_3_and_qwen_split_numbers(count, text, parts):
    assert regex.findall(tiktoken_text.SPLITTINGS[count].pattern, text) == parts


def test_a_file_is_read(tmp_path):
    ranks = write(tmp_path / "any.tiktoken", 50_256)
    ours = load_text_tokenizer(tmp_path, threads=False)
    theirs = tiktoken.Encoding(
        "r50k", pat_str=tiktoken_text.GPT_2, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 50_256}
    )
    texts = [TEXT, "the dog", "", "<|endoftext|>"]
    assert (
        ours.encode_batch(texts) == [theirs.encode_ordinary(text) for text in texts] == [ours.encode(t) for t in texts]
    )
    assert load_text_tokenizer(tmp_path / "any.tiktoken").encode_batch(texts) == ours.encode_batch(texts)
    assert [ours.decode(ids) for ids in ours.encode_batch(texts)] == texts
    assert (ours.size, ours.id_of("<|endoftext|>"), ours.id_of(" dog"), ours.id_of("<no>")) == (
        50_257,
        50_256,
        261,
        None,
    )
    assert 50_256 not in ours.encode("<|endoftext|>") and ours.decode([50_256]) == "<|endoftext|>"
    assert pickle.loads(pickle.dumps(ours)).encode(TEXT) == ours.encode(TEXT)
    assert text_tokenizer_of(theirs).encode(TEXT) == ours.encode(TEXT)
    with pytest.raises(ValueError, match="^.*99999: it is not one of this text tokenizer's 50257 ids"):
        ours.decode([99_999])
    for encode in (ours.encode, lambda text: ours.encode_batch([text])):
        with pytest.raises(
            ValueError, match=r"^The text 'a\\ud800' cannot be encoded: it holds half a surrogate pair, which"
        ):
            encode("a\ud800")


def test_a_model_takes_the_ids_behind_an_encoding(tmp_path):
    transformers = pytest.importorskip("transformers")
    write(tmp_path / "any.tiktoken", 50_256)
    text = load_text_tokenizer(tmp_path)
    vocabulary = vocabulary_behind(
        text, 10, structure={"begin": "<b>", "end": "<e>"}, text_structure={"end": "<|endoftext|>"}
    )
    assert vocabulary["image"].structure == {"begin": 50_267, "end": 50_268} and vocabulary["text"].structure == {
        "end": 50_256
    }
    config = transformers.GPT2Config(n_embd=4, n_layer=1, n_head=2, vocab_size=text.size, n_positions=8)
    for tokenizer in (text, text.encoding, None):
        model = transformers.GPT2LMHeadModel(config)
        rows = extend_model(model, vocabulary, tokenizer=tokenizer)
        assert rows.new == (range(50_257, 50_267), range(50_267, 50_268), range(50_268, 50_269))


def test_a_wrong_file_is_one_sentence(tmp_path):
    write(tmp_path / "some.tiktoken", 300)
    with pytest.raises(
        ValueError, match=r"some\.tiktoken has 300 ranks, but does not say how its text is split, which is kno"
    ):
        load_text_tokenizer(tmp_path / "some.tiktoken")
    (tmp_path / "some.tiktoken").write_text("no ranks")
    with pytest.raises(
        ValueError, match=r"some\.tiktoken is not a \.tiktoken file, whose lines hold a token in base64 and it"
    ):
        load_text_tokenizer(tmp_path / "some.tiktoken")


def test_names(monkeypatch):
    encoding = tiktoken.Encoding("x", pat_str=".", mergeable_ranks={b"a": 0}, special_tokens={})
    monkeypatch.setattr(tiktoken, "get_encoding", {"cl100k_base": encoding}.__getitem__)
    assert load_text_tokenizer("cl100k_base").encode("a") == [0]
    with pytest.raises(
        ValueError, match=r"^tiktoken cannot get gpt2: 'gpt2'\. Set TIKTOKEN_CACHE_DIR to a folder that has it"
    ):
        load_text_tokenizer("gpt2")
    with pytest.raises(
        ValueError, match=r"^'cl100k_bas' is not a file or a folder here, and is not a known text tokenizer: d"
    ):
        load_text_tokenizer("cl100k_bas")


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tiktoken", None)
    with pytest.raises(
        ValueError, match=r"^An encoding of tiktoken needs the package tiktoken: pip install '\.\[text\]' in"
    ):
        load_text_tokenizer("gpt2")
