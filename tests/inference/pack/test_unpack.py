"""Packed sequences come back as the images and captions that they were made of."""

import base64
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vistok
from commands import APPS
from decoder_cases import with_decoders
from packing import run
from samples import PHOTOS
from text_tokenizers import write_text_tokenizer
from vistok.inference.packed_shards.folder import PackedFolder
from vistok.inference.packed_shards.formats import PACKED_FORMATS, open_rows
from vistok.inference.packed_shards.reading import SequenceReader
from vistok.sequences.vocabulary import STRUCTURE, Vocabulary

CAPTION = "A photo of {}, héllo 猫\r\n<|image_begin|> {{image}}"
NAMES = sorted(path.stem for path in PHOTOS.iterdir() if path.suffix != ".md")


@pytest.fixture(scope="module")
def photo_tokens(tmp_path_factory, tokenizer_folder):
    """The test photos, small, with captions, as token shards of grids that differ, two images each."""
    photos = tmp_path_factory.mktemp("photos")
    for path in PHOTOS.iterdir():
        if path.suffix != ".md":
            with Image.open(path) as image:
                image.convert("RGB").resize((image.width // 8, image.height // 8)).save(photos / f"{path.stem}.png")
            (photos / f"{path.stem}.txt").write_bytes(CAPTION.format(path.stem).encode())
    out = photos / "tokens"
    options = ("--model", tokenizer_folder, "--size", "area:48", "--shard-size", 2, "--quiet")
    run(APPS["tokenize-images"], photos, "--out", out, *options)
    return out


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("megatron", ("--template", r"Look:\n{txt}!{image}")),
        ("parquet", ("--order", "image-caption", "--length", 400, "--pad", "<pad>")),
        ("npy", ("--length", 400, "--pad", "<pad>", "--mask-at", "prediction")),
    ],
)
def test_images_and_captions_are_equal_to_the_source(photo_tokens, pack, unpack, one_codebook, tmp_path, form, options):
    """Tokens bit for bit, text letter by letter, and the pixels of detokenize-images."""
    packed, out = tmp_path / "p", tmp_path / "u"
    pack(photo_tokens, packed, "--format", form, *options, "--bos", "<s>", layout="emu3", text=one_codebook)
    folder = PackedFolder(str(packed))
    found = {}
    for sidecar in folder.shards().whole:
        with open_rows(folder.store, sidecar.shard, folder.packed_format) as rows:
            for _, documents in SequenceReader(folder.layout, folder.manifest.settings).read(rows):
                found |= {read.document.key: read.tokens for read in documents}
    source = vistok.TokenDataset(photo_tokens)
    assert sorted(found) == NAMES and len({tokens.shape for tokens in found.values()}) > 1
    assert all(
        np.array_equal(found[row.key], row.tokens.numpy()) for row in map(source.__getitem__, range(len(source)))
    )
    said = unpack(packed, "--out", out)
    assert "6 images from 3 shards" in said and "6 captions, 6 the very text that was packed" in said
    run(APPS["detokenize-images"], photo_tokens, "--out", tmp_path / "d", "--quiet")
    for name in NAMES:
        assert (out / f"{name}.txt").read_bytes() == CAPTION.format(name).encode()
        ours, theirs = (np.asarray(Image.open(folder / f"{name}.png")) for folder in (out, tmp_path / "d"))
        assert np.array_equal(ours, theirs)
    assert "0 images from 3 shards" in unpack(packed, "--out", out)


def test_an_extra_decoder_gives_the_files_of_detokenize_images(
    photo_tokens, pack, unpack, one_codebook, tokenizer_folder, tmp_path
):
    folder = with_decoders(tokenizer_folder, tmp_path / "model")
    pack(photo_tokens, tmp_path / "p", text=one_codebook)

    def files(name, *options):
        with_model = ("--model", folder, "--out", tmp_path / name, *options)
        if name.startswith("detokenized"):
            run(APPS["detokenize-images"], photo_tokens, *with_model, "--quiet")
        else:
            assert "6 images from 3 shards" in unpack(tmp_path / "p", *with_model)
        return {image: (tmp_path / name / f"{image}.png").read_bytes() for image in NAMES}

    gan = ("--decoder", "gan", "--seed", 4)
    ours = files("unpacked", *gan)
    assert ours == files("detokenized", *gan)
    others = [files("plain"), files("flow", "--decoder", "flow", "--seed", 4), files("seed", "--decoder", "gan")]
    assert all(ours[name] != other[name] for other in others for name in NAMES)
    assert others[2] == files("detokenized-0", "--decoder", "gan")  # the seed is 0 unless another is given


def test_resuming_knows_decoder_and_seed_and_others_are_refused(
    photo_tokens, pack, unpack, one_codebook, tokenizer_folder, tmp_path
):
    folder, out = with_decoders(tokenizer_folder, tmp_path / "model"), tmp_path / "u"
    pack(photo_tokens, tmp_path / "p", text=one_codebook)
    call = (tmp_path / "p", "--model", folder, "--out", out)
    said = unpack(*call, "--decoder", "fancy", code=2)
    assert "decoder is 'fancy', but this tokenizer has plain, flow, gan: give one of these." in said
    assert "Invalid value for '--seed'" in unpack(*call, "--decoder", "gan", "--seed", -1, code=2)
    assert not out.exists()
    options = ("--decoder", "gan", "--seed", 4)
    unpack(*call, *options)
    assert "0 images from 3 shards" in unpack(*call, *options)
    for other in ((), ("--decoder", "gan"), ("--decoder", "flow", "--seed", 4)):
        said = unpack(*call, *other, code=2)
        assert ".png is there already: give another --out folder, or --overwrite to replace it." in said
    assert "6 images from 3 shards" in unpack(*call, "--decoder", "gan", "--overwrite")


def test_tiktoken_gets_the_structure_of_layouts_by_name(photo_tokens, pack, unpack, verify, tmp_path):
    """No id of the structure is counted by a user: emu3 and EOS are asked for by name, and the names come back."""
    pytest.importorskip("tiktoken")
    words = [bytes([byte]) for byte in range(256)] + [b"\0%d" % index for index in range(50_000)]
    lines = (b"%s %d\n" % (base64.b64encode(word), rank) for rank, word in enumerate(words))
    source = tmp_path / "small.tiktoken"
    source.write_bytes(b"".join(lines))
    said = pack(photo_tokens, tmp_path / "r", layout="emu3", text=source, code=2)
    assert "add it to the vocabulary (extend_tokenizer does, and pack-sequences --extend), or choose" in said
    pack(photo_tokens, tmp_path / "p", "--extend", "--eos", "<|endoftext|>", layout="emu3", text=source)
    made = Vocabulary.load(tmp_path / "p")
    codes = vistok.TokenDataset(photo_tokens).manifest.vocab_size
    assert made["image"].offsets == (50_257,) and made["image"].names == STRUCTURE
    assert list(made["image"].structure.values()) == [50_257 + codes + index for index in range(len(STRUCTURE))]
    assert made["text"].structure == {"end": 50_256} and not (tmp_path / "p" / "tokenizer.json").exists()
    assert "is whole" in verify(tmp_path / "p")
    unpack(tmp_path / "p", "--out", tmp_path / "u")
    for name in NAMES:
        assert (tmp_path / "u" / f"{name}.txt").read_bytes() == CAPTION.format(name).encode()


def test_a_text_tokenizer_that_changes_text_is_found_out(photo_tokens, pack, unpack, tmp_path):
    text = write_text_tokenizer(tmp_path / "tokenizer.json", lowercase=True)
    pack(photo_tokens, tmp_path / "p", layout="emu3", text=text)
    said = json.loads(unpack(tmp_path / "p", "--out", tmp_path / "u", "--json"))
    assert (said["captions"], sorted(said["changed"]), said["failures"]) == (6, NAMES, [])
    assert (tmp_path / "u" / "coffee.txt").read_bytes() == CAPTION.format("coffee").lower().encode()
    said = unpack(tmp_path / "p", "--out", tmp_path / "u")
    assert "6 captions, 0 the very text" in said and "changed by the text tokenizer, as it normalizes text: " in said


def test_nothing_that_is_there_is_replaced(photo_tokens, pack, unpack, one_codebook, tmp_path):
    pack(photo_tokens, tmp_path / "p", text=one_codebook)
    out = tmp_path / "u"
    out.mkdir()
    for name, content in (("coffee.txt", b"mine"), ("rocket.png", b"mine")):
        (out / name).write_bytes(content)
        said = unpack(tmp_path / "p", "--out", out, code=2)
        assert f"{out / name} is there already: give another --out folder, or --overwrite to replace it." in said
        assert [path.read_bytes() for path in out.iterdir()] == [content]
        (out / name).unlink()
    (out / "coffee.txt").write_bytes(b"mine")
    unpack(tmp_path / "p", "--out", out, "--overwrite")
    assert (out / "coffee.txt").read_bytes() == CAPTION.format("coffee").encode()


def test_damage_is_named_and_the_rest_comes_back(photo_tokens, pack, unpack, one_codebook, tmp_path):
    packed = tmp_path / "p"
    pack(photo_tokens, packed, text=one_codebook)
    first, second, third = sorted(path.stem for path in packed.glob("images-*.json"))
    (packed / f"{first}.bin").write_bytes((packed / f"{first}.bin").read_bytes()[::-1])
    (packed / f"{second}.json").unlink()
    said = unpack(packed, "--out", tmp_path / "u", code=1)
    assert f"damaged: {packed / first}.bin does not match its sidecar (SHA-256): pack it again." in said
    assert f"damaged: {second} has no sidecar: pack it again." in said and "2 images from 1 shard" in said
    (packed / f"{third}.bin").write_bytes(b"")
    assert f"damaged: {third} is not there with all its bytes: pack it again." in unpack(
        packed, "--out", tmp_path / "v", code=1
    )


def test_an_image_that_does_not_come_back_leaves_no_caption(photo_tokens, pack, unpack, one_codebook, tmp_path):
    packed, out = tmp_path / "p", tmp_path / "u"
    pack(photo_tokens, packed, text=one_codebook)
    name = min(path.stem for path in packed.glob("images-*.json"))
    lines = (packed / f"{name}.jsonl").read_text()
    row = json.loads(lines.splitlines()[0])["documents"][0]
    (packed / f"{name}.jsonl").write_text(lines.replace(row["tokens"], "0" * len(row["tokens"])))
    values = json.loads((packed / f"{name}.json").read_text())
    for file in values["files"]:
        content = (packed / file["name"]).read_bytes()
        file |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (packed / f"{name}.json").write_text(json.dumps(values))
    said = unpack(packed, "--out", out, code=1)
    assert f"failed: {packed / name}: {row['key']}: " in said and "5 captions, 5 the very text" in said
    stems = sorted(path.stem for path in out.glob("*.*"))
    assert stems == sorted([key for key in NAMES if key != row["key"]] * 2)


def test_a_text_tokenizer_that_was_moved_is_asked_for(photo_tokens, pack, unpack, one_codebook, tmp_path):
    shutil.copytree(one_codebook.parent, tmp_path / "text")
    text = tmp_path / "text" / one_codebook.name
    pack(photo_tokens, tmp_path / "p", text=text)
    moved = text.rename(tmp_path / "moved.json")
    said = unpack(tmp_path / "p", "--out", tmp_path / "u", code=2)
    assert f"There is no text tokenizer at {text}: " in said
    assert f". {tmp_path / 'p'} was packed with it: give --text-tokenizer where it is now." in said
    said = unpack(tmp_path / "p", "--out", tmp_path / "u", "--text-tokenizer", text, code=2)
    assert "There is no text tokenizer at" in said and "was packed with it" not in said
    assert "6 images" in unpack(tmp_path / "p", "--out", tmp_path / "u", "--text-tokenizer", moved)


def test_a_folder_with_its_own_text_tokenizer_may_be_moved(photo_tokens, pack, unpack, text_file, tmp_path):
    text = shutil.copy(text_file, tmp_path / "mine.json")
    pack(photo_tokens, tmp_path / "p", "--extend", layout="emu3", text=text)
    moved = (tmp_path / "p").rename(tmp_path / "far")
    Path(text).unlink()
    for name, options in (("u", ()), ("v", ("--text-tokenizer", moved))):
        out = tmp_path / name
        said = unpack(moved, "--out", out, *options)
        assert "6 captions, 6 the very text that was packed" in said
    for name in NAMES:
        assert (out / f"{name}.txt").read_bytes() == CAPTION.format(name).encode()


def test_another_text_tokenizer_or_tokenizer_is_refused(photo_tokens, pack, unpack, one_codebook, tmp_path):
    pack(photo_tokens, tmp_path / "p", text=one_codebook)
    other = write_text_tokenizer(tmp_path / "tokenizer.json", lowercase=True)
    said = unpack(tmp_path / "p", "--out", tmp_path / "u", "--text-tokenizer", other, code=2)
    assert (
        f"was packed with another text tokenizer than {other}: give --text-tokenizer the one that it was packed" in said
    )
    said = unpack(tmp_path / "p", "--out", tmp_path / "u", "--model", "photo-f8", code=2)
    assert "but photo-f8 makes others: give --model the tokenizer that made them." in said


def test_every_format_has_a_case():
    assert set(PACKED_FORMATS) == {"megatron", "parquet", "npy"}
