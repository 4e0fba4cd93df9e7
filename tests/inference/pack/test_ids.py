"""What is in packed shards, as readers of the formats find it: ids, loss mask, documents."""

import json
from itertools import chain, pairwise, product

import numpy as np
import pytest

from packing import raster_ids, read_packed
from token_folders import CODEBOOKS, ROWS, VOCAB_SIZE, samples_of, write_folder, write_shard, write_totals
from vistok.inference.packed_shards.formats import PACKED_FORMATS
from vistok.sequences.vocabulary import Vocabulary


@pytest.fixture
def spell(text_file):
    """Text to ids by the library itself."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(text_file))
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def expected_documents(spell, offset, begin=(), end=(), first_is_caption=True):
    """Parts of the documents of the folder `tokens`: begin, text, image, end, in the order of the shards."""
    documents = []
    for shard, count in enumerate(ROWS):
        for row, sample in enumerate(samples_of(shard, count)):
            if row % 2 == 0:
                caption, image = spell(f"caption {shard} {row}"), raster_ids(sample.tokens, offset)
                documents.append(
                    [list(begin), *((caption, image) if first_is_caption else (image, caption)), list(end)]
                )
    return documents


@pytest.mark.parametrize("form", PACKED_FORMATS)
@pytest.mark.parametrize("order", ["caption-image", "image-caption"])
def test_a_row_is_a_document(tokens, pack, spell, text, tmp_path, form, order):
    said = pack(tokens, tmp_path / "p", "--format", form, "--order", order, "--bos", "<s>", "--eos", "</s>")
    expected = expected_documents(spell, text.size, [0], [1], order == "caption-image")
    rows = read_packed(tmp_path / "p", form)
    assert [ids for ids, _, _ in rows] == [list(chain(*parts)) for parts in expected]
    assert [mask for _, mask, _ in rows] == [[0, *[1] * (sum(map(len, parts)) - 1)] for parts in expected]
    assert all(starts == [0] for _, _, starts in rows)
    assert "images      11 packed, 8 skipped, 0 failed" in said
    assert f"11 documents as 11 rows in {len(ROWS)} shards, 0 failures listed" in said


@pytest.mark.parametrize(
    ("order", "loss", "at"),
    list(product(["caption-image", "image-caption"], ["image", "text", "both"], ["target", "prediction"])),
)
def test_the_mask_is_one_at_the_ids_to_predict(tokens, pack, spell, text, tmp_path, order, loss, at):
    options = ("--order", order, "--loss", loss, "--mask-at", at, "--bos", "<s>", "--eos", "</s>", "--format", "npy")
    pack(tokens, tmp_path / "p", *options)
    kinds = ("text", "image") if order == "caption-image" else ("image", "text")
    documents = expected_documents(spell, text.size, [0], [1], order == "caption-image")
    for (begin, one, other, end), (_, mask, _) in zip(documents, read_packed(tmp_path / "p", "npy"), strict=True):
        owners = ["none"] * len(begin) + [kinds[0]] * len(one) + [kinds[1]] * (len(other) + len(end))
        targets = [int(owner != "none" and loss in (owner, "both")) for owner in owners]
        assert mask == (targets if at == "target" else [*targets[1:], 0])


@pytest.mark.parametrize("form", PACKED_FORMATS)
@pytest.mark.parametrize("at", ["target", "prediction"])
def test_rows_of_a_length_hold_whole_documents(tokens, pack, spell, text, tmp_path, form, at):
    out = tmp_path / "p"
    options = ("--bos", "<s>", "--eos", "</s>", "--pad", "<pad>", "--length", 60, "--mask-at", at, "--loss", "image")
    said = pack(tokens, out, "--format", form, *options)
    pack(tokens, tmp_path / "one", "--format", form, *options[:4], "--mask-at", at, "--loss", "image")
    alone = {tuple(ids): mask for ids, mask, _ in read_packed(tmp_path / "one", form)}
    rows, found, used = read_packed(out, form), [], 0
    for ids, mask, starts in rows:
        assert len(ids) == len(mask) == 60 and starts[0] == 0
        rest = ids.index(2) if 2 in ids else 60
        assert set(ids[rest:]) <= {2} and not any(mask[rest:])
        used += rest
        for first, last in pairwise([*starts, rest]):
            found.append(tuple(ids[first:last]))
            assert mask[first:last] == alone[found[-1]]
    expected = [list(chain(*parts)) for parts in expected_documents(spell, text.size, [0], [1])]
    assert sorted(found) == sorted(map(tuple, expected)) and len(rows) < len(expected)
    assert (
        f"rows        {len(rows)} of 60 ids, {used / (60 * len(rows)):.2%} full, {11 / len(rows):.1f} documents" in said
    )


def test_a_document_that_is_longer_than_a_row_is_a_failure_by_name(tokens, pack, verify, tmp_path):
    out = tmp_path / "p"
    lengths = [len(ids) for ids, _, _ in _alone(tokens, pack, tmp_path)]
    longest = max(lengths)
    said = pack(tokens, out, "--pad", "<pad>", "--length", longest - 1)
    reason = f"its document has {longest:,} ids, more than the {longest - 1:,} of --length"
    assert f"{lengths.count(longest)} failed" in said and reason in said
    failures = [row for path in out.glob("shard-*.json") for row in json.loads(path.read_text())["failures"]]
    assert len(failures) == lengths.count(longest) and all(row["reason"] == reason for row in failures)
    assert sum(len(starts) for _, _, starts in read_packed(out, "megatron")) == 11 - len(failures)
    assert "is whole" in verify(out)
    pack(tokens, tmp_path / "none", "--pad", "<pad>", "--length", 12, code=1)  # no document at all


def test_images_that_a_layout_cannot_write_are_failures_by_name(pack, verify, one_codebook, tmp_path):
    folder, captions = tmp_path / "t", tmp_path / "captions"
    folder.mkdir()
    captions.mkdir()
    samples = []
    for index, grid in enumerate([(2, 3), (1, 21), (20, 1), (1, 21)]):  # the vocabulary spells numbers up to 20
        (sample,) = samples_of(index, 1, captions, grid)
        samples.append(sample._replace(key=str(index), tokens=sample.tokens[:1]))
    write_shard(folder, "wds", "a", samples)
    write_totals(folder, "wds", num_codebooks=1)
    said = pack(folder, tmp_path / "p", layout="emu3", text=one_codebook)
    assert "2 packed, 0 skipped, 2 failed" in said
    failures = json.loads((tmp_path / "p" / "a.json").read_text())["failures"]
    assert [row["key"] for row in failures] == ["1", "3"]
    assert {row["reason"] for row in failures} == {
        "its tokens have no ids (The grid 1 x 21 cannot be written: the vocabulary spells numbers from 1 to 20; make it with "
        "a higher max_side)"
    }
    assert "is whole" in verify(tmp_path / "p")
    option = ("--layout-option", "grid=[20,1]")
    assert "1 packed, 0 skipped, 3 failed" in pack(
        folder, tmp_path / "q", *option, layout="chameleon", text=one_codebook
    )


def _alone(tokens, pack, tmp_path):
    pack(tokens, tmp_path / "alone")
    return read_packed(tmp_path / "alone", "megatron")


def test_images_of_other_sizes_are_packed_by_a_layout_that_writes_their_grid(
    pack, verify, spell, one_codebook, tmp_path
):
    folder = tmp_path / "t"
    captions = tmp_path / "captions"
    folder.mkdir()
    captions.mkdir()
    samples = []
    for index, grid in enumerate([(2, 3), (4, 1), (2, 3), (1, 5)]):
        (sample,) = samples_of(index, 1, captions, grid)
        samples.append(sample._replace(key=str(index), tokens=sample.tokens[:1]))
    write_shard(folder, "wds", "a", samples)
    write_totals(folder, "wds", num_codebooks=1)
    pack(folder, tmp_path / "p", layout="emu3", text=one_codebook)
    vocabulary = Vocabulary.load(tmp_path / "p")
    image, roles = vocabulary["image"], vocabulary["image"].structure
    for index, (sample, (ids, _, _)) in enumerate(zip(samples, read_packed(tmp_path / "p", "megatron"), strict=True)):
        _, height, width = sample.tokens.shape
        rows = [[*(image.offsets[0] + int(code) for code in row), roles["row_end"]] for row in sample.tokens[0]]
        assert ids == [
            *spell(f"caption {index} 0"),
            roles["begin"],
            *spell(f"{height}*{width}"),
            roles["image"],
            *chain(*rows),
            roles["rows_end"],
            roles["end"],
        ]
    assert "is whole, 4 rows of 4 images" in verify(tmp_path / "p")


def test_a_code_is_packed_as_its_digits(pack, verify, text_file, tmp_path):
    folder, captions = tmp_path / "t", tmp_path / "captions"
    folder.mkdir()
    captions.mkdir()
    (sample,) = samples_of(0, 1, captions)
    write_shard(folder, "wds", "a", [sample._replace(tokens=sample.tokens[:1])])
    write_totals(folder, "wds", num_codebooks=1)
    options = ("--extend", "--layout-option", "levels=[10,6,5]", "--layout-option", "frame=ends")
    pack(folder, tmp_path / "p", *options, "--order", "image-caption", layout="digits", text=text_file)
    image = Vocabulary.load(tmp_path / "p")["image"]
    assert (image.size, image.num_codebooks) == (10, 1)
    ((ids, _, _),) = read_packed(tmp_path / "p", "megatron")
    codes = sample.tokens[0].flatten().tolist()
    expected = [image.offsets[0] + digit for code in codes for digit in (code % 10, code // 10 % 6, code // 60)]
    assert ids[: 2 + len(expected)] == [image.structure["begin"], *expected, image.structure["end"]]
    assert "is whole, 1 row of 1 image" in verify(tmp_path / "p")


def test_the_summary_is_also_json(tokens, pack, tmp_path):
    lines = pack(tokens, tmp_path / "p", "--json", "--length", 64, "--pad", "<pad>").splitlines()
    said = json.loads(next(line for line in lines if line.startswith("{")))  # the rest is on standard error
    assert said["shards"] == {"written": 5, "done_before": 0, "left_out": []} and not said["damaged"]
    written, folder = said["written"], said["folder"]
    assert written["documents"] == folder["documents"] == 11 and written["skipped"] == folder["skipped"] == 8
    assert written["image_tokens"] == 11 * CODEBOOKS * 6 and written["ids"] + written["padding"] == 64 * written["rows"]
    assert said["settings"]["length"] == 64 and said["image_tokens_per_second"] > 0


def test_the_ids_of_a_large_vocabulary_are_int32(pack, tmp_path, text, text_file):
    folder = write_folder(tmp_path / "t", "wds", rows=(2,), vocab_size=65_000)
    pack(folder, tmp_path / "p", "--format", "npy", text=text_file)
    vocabulary = Vocabulary.load(tmp_path / "p")
    assert vocabulary.size == text.size + CODEBOOKS * 65_000 and VOCAB_SIZE < 65_000
    assert np.load(tmp_path / "p" / "shard-0.ids.npy").dtype == np.int32
    assert json.loads((tmp_path / "p" / "manifest.json").read_text())["settings"]["dtype"] == "int32"


@pytest.mark.parametrize("source", ["parquet", "megatron"])
def test_token_shards_of_any_format_give_the_same_ids(tokens, pack, tmp_path, source):
    if source == "parquet":
        pytest.importorskip("pyarrow")
    other = write_folder(tmp_path / "t", source)
    pack(tokens, tmp_path / "p")
    pack(other, tmp_path / "q")
    assert read_packed(tmp_path / "p", "megatron") == read_packed(tmp_path / "q", "megatron")
