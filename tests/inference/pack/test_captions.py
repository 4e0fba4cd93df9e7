"""Captions of every kind: missing, of other members, no text, and those that spell the structure of images."""

import json

import pytest

from packing import raster_ids, read_packed
from token_folders import samples_of, write_shard, write_totals
from vistok.images.file_entry import file_entry
from vistok.inference.inputs.samples import Companion
from vistok.inference.pack.documents import TextOnly
from vistok.sequences.vocabulary import STRUCTURE, Vocabulary

EVIL = " ".join(STRUCTURE.values()) + " <s></s><pad> {image} <|visual token 000007|>"


@pytest.fixture
def folder(tmp_path):
    """A shard of images with some members each."""

    def made(*members):
        out = tmp_path / "t"
        out.mkdir()
        samples = []
        for index, files in enumerate(members):
            companions = []
            for extension, content in files.items():
                path = tmp_path / f"{index}.{extension}"
                path.write_bytes(content)
                companions.append(Companion(extension, file_entry(str(path), path.name)))
            samples.append(samples_of(0, index + 1)[-1]._replace(key=f"k{index}", companions=companions))
        write_shard(out, "wds", "a", samples)
        write_totals(out, "wds")
        return out

    return made


def sidecar(out):
    return json.loads((out / "a.json").read_text())


def test_images_without_a_caption_are_skipped_by_name_or_stand_alone(folder, pack, tmp_path, text):
    source = folder({"txt": b"one"}, {}, {"txt": b" \n"}, {"cls": b"3"})
    said = pack(source, tmp_path / "p", "--bos", "<s>", "--eos", "</s>")
    assert "images      1 packed, 3 skipped, 0 failed" in said
    assert "skipped     3 images without a caption, listed in the .json of the shard" in said
    assert "missing     txt of 3 images, whose members are: cls, txt" in said
    assert sidecar(tmp_path / "p")["skipped"] == ["k1", "k2", "k3"]
    said = pack(source, tmp_path / "q", "--bos", "<s>", "--eos", "</s>", "--on-missing", "image")
    assert "images      4 packed, 0 skipped, 0 failed" in said and "no caption  3 documents of an image alone" in said
    images = [raster_ids(sample.tokens, text.size) for sample in samples_of(0, 4)]
    ids = [row for row, _, _ in read_packed(tmp_path / "q", "megatron")]
    assert ids[1:] == [[0, *image, 1] for image in images[1:]]


@pytest.mark.parametrize("mask_at", ["target", "prediction"])
def test_rows_with_nothing_to_predict_are_counted(folder, pack, verify, tmp_path, mask_at):
    """As the mean loss over nothing is NaN; the first id of a row is predicted by nothing, whatever its mask is."""
    source = folder({"txt": b"a photo"}, {}, {}, {"txt": b"q"})
    options = ("--on-missing", "image", "--mask-at", mask_at)
    said = pack(source, tmp_path / "p", "--loss", "text", *options)
    count = 0
    for ids, mask, _ in read_packed(tmp_path / "p", "megatron"):
        targets = mask[1:] if mask_at == "target" else mask[:-1]
        assert len(targets) == len(ids) - 1
        count += not any(targets)
    assert count == 3 == sidecar(tmp_path / "p")["counts"]["without_loss"]
    assert f"no loss     {count} rows in which --loss text leaves nothing to predict: their mean loss is NaN" in said
    assert "is whole" in verify(tmp_path / "p")
    assert "no loss" not in pack(source, tmp_path / "q", "--loss", "image", *options)


@pytest.mark.parametrize("options", [("--caption", "txtt"), ("--template", "{txtt}{image}")])
def test_a_member_that_no_image_has_is_named_beside_those_that_are_there(folder, pack, tmp_path, options):
    source = folder({"txt": b"one", "json": b'{"title": "a"}'}, {"cls": b"3", "json": b"{}"})
    said = pack(source, tmp_path / "p", *options, code=1)
    assert "missing     txtt of 2 images, whose members are: cls, json, txt" in said
    said = pack(source, tmp_path / "q", "--caption", "json.title", "--on-missing", "image")
    assert "missing     json.title of 1 image, whose members are: cls, json, txt" in said


def test_members_that_are_no_text_are_failures_by_name(folder, pack, verify, tmp_path):
    source = folder({"txt": b"one"}, {"txt": b"\xff"}, {"json": b"[1"})
    said = pack(source, tmp_path / "p")
    assert "1 packed, 1 skipped, 1 failed" in said and "failed: k1: its .txt is not UTF-8" in said
    assert sidecar(tmp_path / "p")["failures"][0]["key"] == "k1"
    said = pack(source, tmp_path / "q", "--caption", "json.title", code=1)
    assert "failed: k2: its .json is no JSON" in said and "0 documents as 0 rows in 1 shard, 1 failure listed" in said
    assert "is whole" in verify(tmp_path / "q")


def test_a_template_takes_members_of_any_kind(folder, pack, tmp_path, text):
    source = folder({"txt": b"one", "json": b'{"title": "cat"}'})
    pack(source, tmp_path / "p", "--template", r"{json.title}:\n{txt}{image} end")
    ((ids, _, _),) = read_packed(tmp_path / "p", "megatron")
    (image,) = [raster_ids(sample.tokens, text.size) for sample in samples_of(0, 1)]
    assert ids == [*text.encode("cat:\none"), *image, *text.encode(" end")]


def test_a_caption_that_spells_structure_is_text(folder, pack, unpack, tmp_path, text):
    source = folder({"txt": EVIL.encode()})
    pack(source, tmp_path / "p", "--bos", "<s>", layout="interleaved")
    ((ids, _, _),) = read_packed(tmp_path / "p", "megatron")
    roles = Vocabulary.load(tmp_path / "p")["image"].structure
    first = ids.index(roles["begin"])
    assert text.decode(ids[1:first]) == EVIL
    assert not set(ids[1:first]) & {*roles.values(), 0, 1, 2} and max(ids[1:first]) < text.size
    assert [ids.count(roles[role]) for role in ("begin", "image", "end")] == [1, 1, 1]


def test_a_text_tokenizer_that_injects_ids_is_found_out(text, small_vocabulary):
    """Whatever it is: the ids of every text are looked up."""

    class Careless:
        def encode_batch(self, texts):
            return [[61, 700] if "evil" in each else [60] for each in texts]

    vocabulary = Vocabulary.load(small_vocabulary.parent)
    begin = vocabulary["image"].structure["begin"]
    checked = TextOnly(Careless(), vocabulary).encode(["fine", "", "evil"])
    assert checked == [[60], [], "its text has the id 700, which is one of images or unknown to the vocabulary"]
    structure = type("Structure", (), {"encode_batch": lambda self, texts: [[begin] for _ in texts]})()
    assert "which is one of images" in TextOnly(structure, vocabulary).encode(["a"])[0]
    unknown = type("Unknown", (), {"encode_batch": lambda self, texts: [[10_000] for _ in texts]})()
    assert "has the id 10000" in TextOnly(unknown, vocabulary).encode(["a"])[0]


def test_a_text_that_has_no_ids_is_a_failure_by_name(small_vocabulary):
    class Narrow:
        def encode(self, text):
            if "é" in text:
                raise ValueError("The text cannot be encoded: leave it out.")
            return [60]

        def encode_batch(self, texts):
            return list(map(self.encode, texts))

    vocabulary = Vocabulary.load(small_vocabulary.parent)
    said = "its text has no ids (The text cannot be encoded: leave it out)"
    assert TextOnly(Narrow(), vocabulary).encode(["a", "é", "b"]) == [[60], said, [60]]
