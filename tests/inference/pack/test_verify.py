"""verify-tokens on packed folders: every kind of damage, by shard and key."""

import hashlib
import json
import shutil
import struct

import numpy as np
import pytest

from token_folders import write_folder
from vistok.inference.packed_shards.formats import PACKED_FORMATS
from vistok.inference.packed_shards.rows import documents_from_json
from vistok.inference.packed_shards.sidecar import PackedSidecar

OPTIONS = ("--bos", "<s>", "--eos", "</s>", "--length", 64, "--pad", "<pad>")


@pytest.fixture(scope="module")
def _packed(tmp_path_factory):
    return {}


@pytest.fixture
def packed(_packed, tokens, pack, tmp_path):
    """A copy of a packed folder of two shards in a format."""

    def copied(form, layout="interleaved"):
        if (form, layout) not in _packed:
            few = write_folder(tmp_path / "few", "wds", rows=(3, 1))
            pack(few, tmp_path / "made", "--format", form, *OPTIONS, layout=layout)
            _packed[form, layout] = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
        out = tmp_path / "p"
        out.mkdir()
        for name, content in _packed[form, layout].items():
            (out / name).write_bytes(content)
        return out

    return copied


def reseal(folder, name="shard-0", **changes):
    """Write a sidecar with the sizes and hashes of a shard as it is now."""
    path = folder / f"{name}.json"
    values = json.loads(path.read_text()) | changes
    for file in values["files"]:
        content = (folder / file["name"]).read_bytes()
        file |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps(values))


@pytest.mark.parametrize("form", PACKED_FORMATS)
@pytest.mark.parametrize("layout", ["interleaved", "raster"])
def test_a_whole_folder_is_whole(packed, verify, form, layout):
    out = packed(form, layout)
    said = verify(out).splitlines()
    assert said[0] == f"{'check':<10}{'of':<48}{'checked':>12}{'problems':>10}"
    assert said[5] == f"{'images':<10}{'images read from their ids, token by token':<48}{3:>12}{0:>10}"
    assert "is whole, " in said[-1] and " of 3 images in 2 shards" in said[-1]
    assert len(said) == 8 and all(len(line) <= 80 for line in said[:-1])
    assert json.loads(verify(out, "--json"))["whole"] is True


@pytest.mark.parametrize("form", PACKED_FORMATS)
def test_a_changed_byte_is_found_by_its_hash(packed, verify, form):
    out = packed(form)
    for path in sorted(out.glob("shard-0.*")):
        if path.suffix == ".json":
            continue
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        assert f"files     {path.name}: has another SHA-256 than its sidecar says" in verify(out, code=1)
        path.write_bytes(content[:-1])
        said = f"has {len(content) - 1:,} bytes, but its sidecar says {len(content):,}: it is cut or was changed"
        assert f"files     {path.name}: {said}" in verify(out, code=1)
        path.unlink()
        assert f"files     {path.name}: is missing" in verify(out, code=1)
        content[-1] ^= 1
        path.write_bytes(content)
    assert "is whole" in verify(out)


def set_id(out, index, value, part="ids"):
    """Change an id, or a value of the mask, of the first shard."""
    path = out / f"shard-0.{part}.npy"
    values = np.load(path)
    values[index] = value
    header = path.read_bytes()[:128]
    path.write_bytes(header + values.tobytes())
    reseal(out)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda out, image: set_id(out, image[0] + 4, 9999), "its ids are "),
        (lambda out, image: set_id(out, image[0] + 5, 60), "its ids are no image of 2 x 3 (ids have 60 at position 5"),
        (lambda out, image: set_id(out, image[0], 60), "its ids are no image of 2 x 3 ("),
        (lambda out, image: swap(out, image[1] - 3), "its tokens are not those that were packed"),
        (lambda out, image: set_id(out, 0, 60), "has 60 where --bos is 0"),
        (lambda out, image: set_id(out, image[1], 60), "has 60 where --eos is 1"),
        (lambda out, image: set_id(out, 0, 1, "loss"), "row 0: its loss mask is not one of both at the target"),
        (lambda out, image: reseal(out, fingerprint="f"), "was packed with other settings than manifest.json has"),
        (
            lambda out, image: (out / "shard-9.ids.npy").write_bytes(b""),
            "has no sidecar that describes it, so it may not",
        ),
        (lambda out, image: (out / "shard-9.loss.npy").mkdir(), "shard-9.loss.npy: is no file"),
        (
            lambda out, image: (out / "x.json").write_text('{"shard": 1}'),
            "x.json: is damaged, or the sidecar of a shard of",
        ),
        (lambda out, image: (out / "shard-1.json").unlink(), "manifest.json: counts 2 shards, but the sidecars have 1"),
    ],
)
def test_what_is_wrong_inside_is_named(packed, verify, change, said):
    out = packed("npy")
    line = json.loads((out / "shard-0.rows.jsonl").read_text().splitlines()[0])
    change(out, line["documents"][0]["image"])
    assert said in verify(out, code=1)


def swap(out, index):
    values = np.load(out / "shard-0.ids.npy")
    other = values[index] + 1 if values[index] % 2 == 0 else values[index] - 1
    set_id(out, index, other)


def test_padding_that_is_none_is_named(packed, verify):
    out = packed("npy")
    ids = np.load(out / "shard-0.ids.npy")
    assert ids[-1] == 2  # the last row has padding
    set_id(out, -1, 60)
    assert "its padding holds other ids" in verify(out, code=1)


def test_counts_and_keys_are_compared(packed, verify):
    out = packed("npy")
    sidecar = PackedSidecar.model_validate_json((out / "shard-0.json").read_text())
    counts = sidecar.counts.model_dump()
    reseal(out, counts=counts | {"documents": 5, "rows": 9})
    said = verify(out, code=1)
    assert f"rows      shard-0: holds {counts['rows']} rows, but its sidecar counts 9" in said
    assert "rows      shard-0: holds 2 documents, but its sidecar counts 5" in said
    reseal(out, counts=counts)
    for path in out.glob("shard-1*"):
        path.unlink()
    for path in list(out.glob("shard-0*")):
        shutil.copy(path, out / path.name.replace("shard-0", "shard-1"))
    values = (out / "shard-1.json").read_text().replace('"shard-0', '"shard-1')
    (out / "shard-1.json").write_text(values)
    assert "keys      shard-1: s0/é0: is the key of a document of shard-0, too" in verify(out, code=1)


def test_the_vocabulary_must_be_that_of_the_shards(packed, verify, unpack, tmp_path):
    out = packed("npy")
    content = (out / "vocabulary.json").read_text()
    (out / "vocabulary.json").write_text(content + " ")
    said = "vocabulary.json is not the vocabulary that the shards were packed with: put that back."
    assert said in verify(out, code=2) and said in unpack(out, "--out", tmp_path / "u", code=2)
    (out / "vocabulary.json").unlink()
    assert "vocabulary.json is missing: run pack-sequences again." in verify(out, code=2)


def test_a_text_tokenizer_that_was_extended_must_be_there(pack, verify, text_file, tmp_path):
    few = write_folder(tmp_path / "few", "wds", rows=(3, 1))
    pack(few, tmp_path / "p", "--extend", text=text_file)
    assert "is whole" in verify(tmp_path / "p")
    (tmp_path / "p" / "tokenizer.json").unlink()
    said = verify(tmp_path / "p", code=2)
    assert f"{tmp_path / 'p' / 'tokenizer.json'} is missing: run pack-sequences again." in said
    pack(few, tmp_path / "p", "--extend", text=text_file)
    assert "is whole" in verify(tmp_path / "p")


def test_a_text_tokenizer_that_was_extended_must_be_as_it_was(pack, verify, unpack, text_file, tmp_path):
    few = write_folder(tmp_path / "few", "wds", rows=(1,))
    pack(few, tmp_path / "p", "--extend", text=text_file)
    path = tmp_path / "p" / "tokenizer.json"
    kept = json.loads((tmp_path / "p" / "manifest.json").read_text())["tokenizer_file"]
    assert kept == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes().replace(b"<pad>", b"<bad>"))
    said = f"{path} is not the text tokenizer that was extended for the shards: put that back."
    assert said in verify(tmp_path / "p", code=2) and said in unpack(tmp_path / "p", "--out", tmp_path / "u", code=2)


def test_a_damaged_manifest_is_a_sentence(packed, verify):
    out = packed("npy")
    content = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(content | {"schema_version": 9}))
    assert "is not a manifest of this vistok (schema_version: Input should be 1): put the right one" in verify(
        out, code=2
    )
    changed = content | {"settings": content["settings"] | {"format": "arrow"}}
    (out / "manifest.json").write_text(json.dumps(changed))
    assert "names the format 'arrow', but only megatron, parquet, npy can be read" in verify(out, code=2)


def test_damaged_files_are_phrases(packed, verify):
    def said_of(out, name, change):
        content = (out / name).read_bytes()
        (out / name).write_bytes(change(content))
        reseal(out)
        said = verify(out, code=1)
        (out / name).write_bytes(content)
        reseal(out)
        return said

    out = packed("npy")
    assert "is whole" in verify(out)
    cut = "has an array that is cut, damaged, or not of vistok, after 0 of "
    assert cut in said_of(out, "shard-0.ids.npy", lambda content: content[:-1])
    assert cut in said_of(out, "shard-0.rows.npy", lambda content: content.replace(b"<i8", b"<i4"))
    unfit = "has arrays that do not fit each other: it is cut or damaged"
    assert unfit in said_of(out, "shard-0.rows.npy", lambda content: content[:-8] + struct.pack("<q", 7))
    other = "has a .documents.npy that is not of row 0: it is damaged"
    assert other in said_of(out, "shard-0.documents.npy", lambda content: content[:-8] + struct.pack("<q", 7))
    line = "has a .jsonl whose line 1 describes no row: it is cut or damaged"
    assert line in said_of(out, "shard-0.rows.jsonl", lambda content: content[:-1])
    more = "has a .jsonl with more lines than its "
    assert more in said_of(out, "shard-0.rows.jsonl", lambda content: content + content)
    span = "has a .jsonl in whose line 1 s0/é0: its span "
    assert span in said_of(out, "shard-0.rows.jsonl", lambda content: content.replace(b'"span": [0', b'"span": [1'))


@pytest.mark.parametrize("text", ["", "[]", "[1]", '[{"key": 1}]', "{"])
def test_documents_that_are_none_are_a_phrase(text):
    with pytest.raises(ValueError, match="the documents of a row are missing or damaged"):
        documents_from_json(text, 9)


def test_files_of_one_shard_that_are_not_of_each_other_are_phrases(packed, verify):
    out = packed("megatron")
    index = (out / "shard-0.loss.idx").read_bytes()
    other = index[:34] + struct.pack("<i", 1) + index[38:]
    (out / "shard-0.loss.idx").write_bytes(other)
    reseal(out)
    assert "has a .bin of 64 bytes, but an .idx of 1: it is cut or damaged" in verify(out, code=1)
    for part in ("bin", "idx"):  # a mask of ids, and of another type
        shutil.copy(out / f"shard-0.{part}", out / f"shard-0.loss.{part}")
    reseal(out)
    assert "has a .loss.idx with other rows than its .idx: it is damaged" in verify(out, code=1)


def test_a_table_of_others_is_a_phrase(packed, verify):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    out = packed("parquet")
    path = out / "shard-0.parquet"
    table = parquet.read_table(path)

    def changed(index, value):
        column = table.column(index)
        return table.set_column(index, table.field(index), pyarrow.array([value] * len(table), column.type))

    for other, said in (
        (table.drop_columns("keys"), "is not a table of packed sequences that vistok wrote"),
        (changed(2, [9]), "has other documents in row 0 than its columns seq_start_id and keys say"),
        (changed(1, [1]), "has 64 ids and 1 values of a loss mask in row 0"),
        (changed(1, None), "has no ids or no loss mask in row 0"),
    ):
        parquet.write_table(other, path)
        reseal(out)
        assert said in verify(out, code=1)
    path.write_bytes(b"PAR1")
    reseal(out)
    assert "is not a parquet file, or damaged" in verify(out, code=1)
