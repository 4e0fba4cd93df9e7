"""A text tokenizer with the codes of an image tokenizer: old ids and text are as before, and new ids follow in order."""

import json
import os
import subprocess
import sys

import pytest

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import Tokenizer  # noqa: E402

from small_text_tokenizers import (  # noqa: E402
    CAPTION,
    KINDS,
    byte_level,
    sentencepiece_bpe,
    unigram,
    whole_text_is_a_word,
    word_piece,
)
from vistok.language.extend_tokenizer import extend_tokenizer  # noqa: E402
from vistok.language.text_tokenizers import load_text_tokenizer, text_tokenizer_of  # noqa: E402
from vistok.sequences.vocabulary import STRUCTURE  # noqa: E402

CODES = 1000
NO_GRID = {"separator": None}
NAMES = {"begin": "<|image start|>", "end": "<|image_stop|>"}
SPLITTING = [name for name in KINDS if name != "whole text"]


@pytest.fixture(params=SPLITTING)
def make(request):
    return KINDS[request.param]


def ids_of_text(tokenizer):
    """Return the ids of captions as `tokenizers` gives them, with its special tokens searched for and not."""
    ids = []
    for tokenizer.encode_special_tokens in (True, False):
        texts = [
            text for text in CAPTION if tokenizer.encode_special_tokens or not any(n in text for n in NAMES.values())
        ]
        ids.append([tokenizer.encode(text, add_special_tokens=False).ids for text in texts])
    return ids


def text_of(tokenizer, ids):
    return [[tokenizer.decode(line, skip_special_tokens=False) for line in lines] for lines in ids]


def test_what_there_was_is_as_before_in_memory_and_on_disk(make, tmp_path):
    before, after = make(), make()
    vocabulary = extend_tokenizer(after, CODES, structure=NAMES, **NO_GRID)
    after.save(str(tmp_path / "tokenizer.json"))
    for tokenizer in (after, Tokenizer.from_file(str(tmp_path / "tokenizer.json"))):
        old = before.get_vocab()
        assert {name: tokenizer.token_to_id(name) for name in old} == old
        ids = ids_of_text(before)
        assert ids_of_text(tokenizer) == ids
        assert text_of(tokenizer, ids) == text_of(before, ids)
        first = 1 + max(old.values())
        assert [tokenizer.token_to_id(f"<|visual token {code:06d}|>") for code in range(CODES)] == [
            *range(first, first + CODES)
        ]
        assert [tokenizer.token_to_id(name) for name in NAMES.values()] == [first + CODES, first + CODES + 1]
        assert tokenizer.get_vocab_size() == first + CODES + 2 == vocabulary.size
    image = vocabulary["image"]
    assert (image.offsets, image.size, image.structure) == (
        (first,),
        CODES,
        {"begin": first + CODES, "end": first + CODES + 1},
    )
    assert (vocabulary["text"].offsets, vocabulary["text"].size) == ((0,), first) and not vocabulary.unused


def test_captions_have_the_same_ids_as_text_alone_and_never_new_ones(make):
    before, after = make(), make()
    extend_tokenizer(after, CODES, structure=NAMES, **NO_GRID)
    old, new = text_tokenizer_of(before), text_tokenizer_of(after)
    for text in [*CAPTION, "<|visual token 000999|>", *NAMES.values()]:
        try:
            ids = old.encode(text)
        except ValueError:
            with pytest.raises(ValueError):
                new.encode(text)
        else:
            assert new.encode(text) == ids and max(ids, default=0) < old.size
            assert new.decode(ids) == old.decode(ids)


def test_a_second_call_changes_nothing(make):
    tokenizer = make()
    vocabulary = extend_tokenizer(tokenizer, CODES, structure=NAMES, **NO_GRID)
    definition = tokenizer.to_str()
    assert extend_tokenizer(tokenizer, CODES, structure=NAMES, **NO_GRID) == vocabulary
    assert tokenizer.to_str() == definition


@pytest.mark.parametrize(
    ("codes", "codebooks", "structure", "message"),
    [
        (
            CODES + 1,
            1,
            NAMES,
            "already has 1000 codes, which are not 1001 in each of 1 codebook: extend the original one aga",
        ),
        (CODES - 1, 1, NAMES, "already has 1000 codes, which are not 999 in each of 1 codebook: "),
        (CODES // 2, 2, NAMES, "already has 1000 codes, which are not 500 in each of 2 codebooks: "),
        (CODES, 1, {"end": "<|other|>"}, r"was extended before, without <\|other\|>: extend the original one again\."),
    ],
)
def test_other_codes_are_refused(codes, codebooks, structure, message):
    tokenizer = byte_level()
    extend_tokenizer(tokenizer, CODES, structure=NAMES, **NO_GRID)
    definition = tokenizer.to_str()
    with pytest.raises(ValueError, match=f"^The text tokenizer {message}"):
        extend_tokenizer(tokenizer, codes, codebooks, structure, **NO_GRID)
    assert tokenizer.to_str() == definition


def test_several_codebooks_have_names_and_an_offset_each():
    tokenizer = byte_level()
    first = tokenizer.get_vocab_size()
    vocabulary = extend_tokenizer(tokenizer, 10, num_codebooks=3, max_side=16)
    assert vocabulary["image"].offsets == (first, first + 10, first + 20)
    assert tokenizer.token_to_id("<|visual token 2 000007|>") == first + 27
    assert vocabulary["image"].structure == {role: first + 30 + index for index, role in enumerate(STRUCTURE)}
    assert (
        vocabulary.numbers is not None and extend_tokenizer(tokenizer, 10, num_codebooks=3, max_side=16) == vocabulary
    )


def test_structure_tokens_that_there_are_keep_their_ids():
    tokenizer = byte_level()
    end = tokenizer.token_to_id("<|endoftext|>")
    vocabulary = extend_tokenizer(
        tokenizer, 4, structure={"begin": "<|new|>", "end": "[MASK]"}, text_structure={"end": "<|endoftext|>"}
    )
    assert vocabulary["text"].structure == {"end": end}
    assert vocabulary["image"].structure == {
        "begin": tokenizer.token_to_id("<|new|>"),
        "end": tokenizer.token_to_id("[MASK]"),
    }
    assert tokenizer.encode("<|new|>").ids == [vocabulary["image"].structure["begin"]]  # as any special token
    assert tokenizer.decode([end, *tokenizer.encode("a").ids, vocabulary["image"].structure["begin"]]) == "a"


def test_ids_that_no_token_has_are_named_and_stay_free():
    definition = json.loads(byte_level().to_str())
    definition["model"]["vocab"]["<unused>"] = 1000
    tokenizer = Tokenizer.from_str(json.dumps(definition | {"added_tokens": definition["added_tokens"][:3]}))
    before = tokenizer.get_vocab()
    vocabulary = extend_tokenizer(tokenizer, 4, structure=NAMES, **NO_GRID)
    assert vocabulary["image"].offsets == (1001,)
    assert {name: index for name, index in tokenizer.get_vocab().items() if name in before} == before
    assert sorted(tokenizer.get_vocab().values()) == [*range(1007)]


def test_saving_says_nothing(tmp_path):
    """The library warns on its own of vocabularies with gaps."""
    code = (
        "from small_text_tokenizers import byte_level\nfrom vistok.language.extend_tokenizer import extend_tokenizer\n"
        "t = byte_level(); extend_tokenizer(t, 4, separator=None); t.save('t.json'); t.from_file('t.json')"
    )
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"", b"")


def test_other_things_are_refused():
    with pytest.raises(
        ValueError, match=r"^'gpt2' cannot be extended: give a fast tokenizer of transformers, or one of"
    ):
        extend_tokenizer("gpt2", 4)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (whole_text_is_a_word, (4,), "^The text tokenizer cannot be extended: it takes text as it is for a token of"),
        (byte_level, (0,), "^vocab_size is 0, but must be an integer from 1 on"),
        (byte_level, (4, 1.5), r"^num_codebooks is 1\.5, but must be an integer from 1 on"),
        (
            byte_level,
            (4, 1, {"end": "a"}),
            "^The token 'a' for the role 'end' is ordinary text, which a caption may contain",
        ),
    ],
)
def test_a_refused_call_changes_nothing(make, arguments, message):
    tokenizer = make()
    definition = tokenizer.to_str()
    with pytest.raises(ValueError, match=message):
        extend_tokenizer(tokenizer, *arguments, **NO_GRID)
    assert tokenizer.to_str() == definition


def of_transformers(name):
    transformers = pytest.importorskip("transformers")
    if name == "PreTrainedTokenizerFast":
        return transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level(), eos_token="<|endoftext|>")
    model = json.loads(OF_TRANSFORMERS[name]().to_str())["model"]
    if name == "T5Tokenizer":
        pieces = [tuple(piece) for piece in model["vocab"] if piece[0] != "<unk>"]
        return transformers.T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces])
    merges = {"merges": [tuple(merge) for merge in model["merges"]]} if "merges" in model else {}
    special = {"LlamaTokenizer": {"bos_token": "<s>", "eos_token": "<s>"}}.get(name, {})
    return getattr(transformers, name)(vocab=model["vocab"], **merges, **special)


OF_TRANSFORMERS = {
    "PreTrainedTokenizerFast": byte_level,
    "GPT2Tokenizer": byte_level,
    "LlamaTokenizer": sentencepiece_bpe,
    "T5Tokenizer": unigram,
    "BertTokenizer": word_piece,
}


@pytest.mark.parametrize("name", OF_TRANSFORMERS)
def test_a_tokenizer_of_transformers_comes_back_from_disk(name, tmp_path):
    transformers = pytest.importorskip("transformers")
    before, after = of_transformers(name), of_transformers(name)
    special = set(before.all_special_tokens)
    vocabulary = extend_tokenizer(after, CODES, **NO_GRID)
    after.save_pretrained(tmp_path)
    assert all(path.stat().st_size < 300_000 for path in tmp_path.iterdir())
    texts = [text for text in CAPTION if "[MASK]" not in text]
    for tokenizer in (after, transformers.AutoTokenizer.from_pretrained(tmp_path)):
        assert len(tokenizer) == vocabulary.size and set(tokenizer.all_special_tokens) == special
        first = vocabulary["image"].offsets[0]
        assert tokenizer.convert_ids_to_tokens([first, first + CODES - 1]) == [
            "<|visual token 000000|>",
            "<|visual token 000999|>",
        ]
        assert tokenizer.convert_tokens_to_ids("<|image_begin|>") == vocabulary["image"].structure["begin"]
        assert {token: tokenizer.convert_tokens_to_ids(token) for token in before.get_vocab()} == before.get_vocab()
        assert tokenizer(texts)["input_ids"] == before(texts)["input_ids"]
        for ids in before(texts)["input_ids"]:
            assert tokenizer.decode(ids) == before.decode(ids)
        assert extend_tokenizer(tokenizer, CODES, **NO_GRID) == vocabulary
    assert load_text_tokenizer(tmp_path).encode("<s> a dog") == text_tokenizer_of(before).encode("<s> a dog")
