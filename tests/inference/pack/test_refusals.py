"""Wrong calls of pack-sequences and unpack-sequences, each a sentence."""

import json
import math
import shutil

import pytest
from tokenizers import Tokenizer

from text_tokenizers import SPECIAL, write_text_tokenizer
from token_folders import CODEBOOKS, VOCAB_SIZE, write_folder
from vistok.inference.pack.levels import levels_for
from vistok.inference.pack.vocabulary import Codes, find_vocabulary
from vistok.inference.token_shards.manifest import manifest_of
from vistok.inference.token_shards.store import LocalStore
from vistok.language.extend_tokenizer import extend_tokenizer
from vistok.language.text_tokenizers import load_text_tokenizer
from vistok.pretrained.find import BUILT_IN
from vistok.sequences.vocabulary import vocabulary_for


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--format", "megatrom"), "--format 'megatrom' is not a known format: did you mean 'megatron'?"),
        (("--loss", "images"), "--loss 'images' is not a known loss: did you mean 'image'?"),
        (("--mask-at", "predictions"), "--mask-at 'predictions' is not a known mask-at: did you mean 'prediction'?"),
        (("--on-missing", "skips"), "--on-missing 'skips' is not a known on-missing: did you mean 'skip'?"),
        (("--order", "image"), "--order 'image' is not a known order: did you mean 'image-caption'?"),
        (
            ("--order", "image-caption", "--template", "{image}"),
            "--order and --template both say what a document is: give one of them.",
        ),
        (("--template", "{txt}"), "--template is '{txt}', with 0 images, but a document has one"),
        (("--bos", "<ss>"), "--bos is '<ss>', but the text tokenizer has no such token: did you mean '<s>'?"),
        (
            ("--length", 64),
            "--length 64 fills the rest of a row with padding: give --pad, a token of the text tokenizer such as '<pad>'.",
        ),
        (("--layout-option", "last_row_end"), "--layout-option is 'last_row_end', but must be NAME=VALUE, such as"),
        (("--layout-option", "last_row_end=false"), "'last_row_end' is not a known option of the layout raster"),
        (("--eos", "a"), "--eos is 'a', which is ordinary text that a caption may contain: give the name of a special"),
        (
            ("--vocabulary", "v.json", "--extend"),
            "--vocabulary is v.json, but --extend makes a vocabulary: give one of",
        ),
        (("--vocabulary", "v.json"), "There is no vocabulary at v.json: give a folder with vocabulary.json, or such a"),
    ],
)
def test_a_wrong_option_is_a_sentence(tokens, pack, tmp_path, options, sentence):
    assert sentence in pack(tokens, tmp_path / "p", *options, code=2)
    assert not (tmp_path / "p").exists()


def test_wrong_folders_are_sentences(tokens, pack, unpack, verify, tmp_path):
    assert "has no manifest.json: give a folder that tokenize-images wrote." in pack(tmp_path, tmp_path / "p", code=2)
    assert f"--out is {tokens}, where the token shards are: give another folder." in pack(tokens, tokens, code=2)
    pack(tokens, tmp_path / "p")
    said = pack(tmp_path / "p", tmp_path / "q", code=2)
    assert f"{tmp_path / 'p'} holds packed sequences, not tokens: give another folder." in said
    other = write_folder(tmp_path / "t", "wds", rows=(1,))
    said = pack(tokens, other, code=2)
    assert f"{other} does not hold packed sequences, as its manifest.json says: give another folder." in said
    assert "give another folder" in unpack(other, "--out", tmp_path / "u", code=2)
    said = unpack(tmp_path / "none", "--out", tmp_path / "u", code=2)
    assert f"{tmp_path / 'none'} does not exist: give a folder that pack-sequences wrote." in said
    (tmp_path / "empty").mkdir()
    said = unpack(tmp_path / "empty", "--out", tmp_path / "u", code=2)
    assert f"{tmp_path / 'empty'} has no manifest.json: give a folder that pack-sequences wrote." in said
    said = verify(tmp_path / "p", "--deep", code=2)
    assert "holds packed sequences, whose images unpack-sequences decodes: leave --deep out." in said
    assert "leave --model out" in verify(tmp_path / "p", "--model", "photo-f8", code=2)


def test_a_vocabulary_of_another_tokenizer_is_a_sentence(tokens, pack, text_file, tmp_path):
    vocabulary_for(load_text_tokenizer(text_file), 301, 2, max_side=9).save(tmp_path)
    said = pack(tokens, tmp_path / "p", "--vocabulary", tmp_path, code=2)
    assert (
        "The vocabulary has 2 x 301 image codes, but the tokens are of 2 x 300 (hf://someone/something): give the "
        "--vocabulary of that tokenizer."
    ) in said


def test_a_vocabulary_of_another_text_tokenizer_is_a_sentence(tokens, pack, text_file, tmp_path):
    other = write_text_tokenizer(tmp_path / "tokenizer.json", special=("<first>", *SPECIAL))
    assert load_text_tokenizer(other).size > load_text_tokenizer(text_file).size
    vocabulary_for(load_text_tokenizer(other), VOCAB_SIZE, CODEBOOKS, max_side=9).save(tmp_path)
    said = pack(tokens, tmp_path / "p", "--vocabulary", tmp_path, text=text_file, code=2)
    assert "The vocabulary has the id " in said and "give the text tokenizer that the vocabulary was made with" in said
    assert not (tmp_path / "p").exists()
    pack(tokens, tmp_path / "p", "--vocabulary", tmp_path, text=other)


def test_a_vocabulary_without_numbers_is_told_by_its_text_tokenizer(tokens, pack, text_file, tmp_path):
    other = write_text_tokenizer(tmp_path / "tokenizer.json", lowercase=True)
    first, second = map(load_text_tokenizer, (text_file, other))
    vocabulary_for(second, VOCAB_SIZE, CODEBOOKS, separator=None).save(tmp_path)
    said = pack(tokens, tmp_path / "p", "--vocabulary", tmp_path, text=text_file, code=2)
    assert f"another text tokenizer ({second.digest[:12]}) than the one given ({first.digest[:12]}): give" in said
    assert not (tmp_path / "p").exists()


def test_roles_that_were_swapped_are_found(tokens, pack, small_vocabulary, tmp_path):
    values = json.loads((small_vocabulary.parent / "vocabulary.json").read_text())
    ids = values["modalities"][1]["structure"]
    ids["begin"], ids["end"] = ids["end"], ids["begin"]
    (tmp_path / "vocabulary.json").write_text(json.dumps(values))
    said = pack(tokens, tmp_path / "p", "--vocabulary", tmp_path, code=2)
    assert (
        f"The vocabulary has the id {ids['begin']} for 'begin' of image, but '<|image_begin|>' has {ids['end']}" in said
    )


@pytest.mark.parametrize("options", [(), ("--extend",)])
def test_more_ids_than_int32_holds_are_a_sentence(pack, text_file, tmp_path, options):
    huge = write_folder(tmp_path / "t", "wds", rows=(1,), vocab_size=2**30)
    said = pack(huge, tmp_path / "p", *options, text=text_file, code=2)
    size = load_text_tokenizer(text_file).size + CODEBOOKS * 2**30
    assert f"The vocabulary has {size:,} ids, more than the 2,147,483,648 of int32: choose a layout that writes" in said
    assert not (tmp_path / "p").exists()


def test_an_end_of_documents_is_no_code(tokens, pack, text_file, tmp_path):
    tokenizer = Tokenizer.from_file(str(text_file))
    vocabulary = extend_tokenizer(tokenizer, VOCAB_SIZE, CODEBOOKS, max_side=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    vocabulary.save(tmp_path)
    code = "<|visual token 1 000003|>"
    said = pack(tokens, tmp_path / "p", "--eos", code, text=tmp_path / "tokenizer.json", code=2)
    assert f"--eos is {code!r}, which is a code of images: give the name of a special token." in said
    pack(tokens, tmp_path / "p", "--eos", "</s>", text=tmp_path / "tokenizer.json")


def test_an_end_of_documents_is_no_end_of_images(tokens, pack, tmp_path):
    for option, name, role in (("--eos", "<|image_end|>", "end"), ("--bos", "<|image_begin|>", "begin")):
        said = pack(tokens, tmp_path / "p", option, name, code=2)
        assert (
            f"{option} is {name!r}, which is {role!r} of images, so that documents would not be told from them" in said
        )
    assert not (tmp_path / "p").exists()


def test_a_draft_is_not_in_token_shards(tokens, pack, text_file, tmp_path):
    said = pack(tokens, tmp_path / "p", layout="glm", text=text_file, code=2)
    assert (
        "which token shards do not have: give --layout-option draft_side=0, or write ids by vistok.sequences." in said
    )


def test_a_token_outside_of_the_vocabulary_is_a_sentence(tokens, pack, small_vocabulary, tmp_path):
    definition = json.loads(small_vocabulary.read_text())
    definition["added_tokens"].append(definition["added_tokens"][0] | {"id": 5000, "content": "<far>"})
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition))
    options = ("--vocabulary", small_vocabulary.parent, "--bos", "<far>")
    said = pack(tokens, tmp_path / "p", *options, text=tmp_path / "tokenizer.json", code=2)
    assert "--bos is '<far>' with the id " in said and "but the vocabulary ends at " in said


def test_only_a_tokenizer_json_can_be_extended():
    with pytest.raises(
        ValueError,
        match="--extend takes a tokenizer.json or an encoding of tiktoken, but --text-tokenizer is gpt2: give",
    ):
        find_vocabulary(None, True, "gpt2", None, Codes(9, 1, "*"), {})


def test_a_layout_without_its_structure_says_what_is_missing(tokens, pack, tmp_path):
    plain = write_text_tokenizer(tmp_path / "tokenizer.json", special=("<s>",))
    said = pack(tokens, tmp_path / "p", layout="interleaved", text=plain, code=2)
    assert "The layout interleaved needs a structure id 'end', but the vocabulary's image has none" in said
    assert "images      11 packed" in pack(tokens, tmp_path / "p", text=plain)  # raster needs none


def test_levels_of_another_quantizer_are_a_sentence(tokens, pack, tmp_path):
    said = pack(tokens, tmp_path / "p", "--layout-option", "levels=[8,5]", layout="digits", code=2)
    assert (
        "The layout digits needs the levels of the quantizer, whose product is the 300 codes of hf://someone/something, but "
        "has (8, 5): give such as --layout-option 'levels=[8,5,5]', as the tokenizer has them."
    ) in said
    assert "has None: give such as" in pack(tokens, tmp_path / "p", layout="digits", code=2)


def test_scales_that_are_missing_are_a_sentence(pack, text_file, tmp_path):
    source = write_folder(tmp_path / "t", "wds", rows=(1,), num_codebooks=1)
    said = pack(source, tmp_path / "p", "--extend", layout="scales", text=text_file, code=2)
    assert (
        "The layout scales needs the scales of the tokenizer: give such as --layout-option 'scales=[1,2,4,8]'." in said
    )


@pytest.mark.parametrize("is_built_in", [True, False])
def test_levels_are_those_of_the_tokenizer(pack, text_file, tmp_path, is_built_in):
    """Other levels of the same product would be read back, but as digits of no channel."""
    levels = json.loads((BUILT_IN / "photo-f8" / "config.json").read_text())["quantizer"]["levels"]
    model = "photo-f8" if is_built_in else str(shutil.copytree(BUILT_IN / "photo-f8", tmp_path / "model"))
    source = write_folder(tmp_path / "t", "wds", rows=(1,), vocab_size=math.prod(levels), num_codebooks=1, model=model)
    wrong = ("--layout-option", "levels=[8,9,9,10,10]")
    said = pack(source, tmp_path / "p", "--extend", *wrong, layout="digits", text=text_file, code=2)
    tokens = manifest_of(LocalStore(source))
    assert (
        f"has the levels (8, 9, 9, 10, 10), but those of {model} are {levels}, in this order: leave the levels out"
        in said
    )
    assert levels_for(tokens, None) == tuple(levels) == levels_for(tokens, tuple(levels))


def test_digits_of_other_quantizers_are_a_sentence(pack, text_file, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"quantizer": {"name": "vq", "vocab_size": 300}}))
    source = write_folder(tmp_path / "t", "wds", rows=(1,), num_codebooks=1, model=str(model))
    said = pack(source, tmp_path / "p", "--layout-option", "levels=[10,30]", layout="digits", text=text_file, code=2)
    assert f"but {model} has the quantizer vq: choose another layout, such as emu3 or interleaved." in said
