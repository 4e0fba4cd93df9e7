"""verify-tokens finds each kind of damage in each format, names it by shard and key, and finds nothing else."""

import json
import shutil

import numpy as np
import pytest

from shard_files import FORMATS
from token_folders import FINGERPRINT, VOCAB_SIZE, samples_of, seal, write_folder, write_shard, write_totals
from vistok.inference.inputs.views import Views
from vistok.inference.token_shards.formats import SHARD_FORMATS, shard_files

pytestmark = pytest.mark.parametrize("form", FORMATS)


@pytest.fixture
def folder(form, tmp_path):
    return write_folder(tmp_path / "t", form)


@pytest.fixture
def problems(verify, folder):
    """The problems of the folder, each as a check, a file, a key and a phrase; there is no other."""

    def find():
        found = json.loads(verify(folder, "--json", "--quiet", code=1))
        assert not found["whole"]
        listed = [tuple(problem.values()) for problem in found["problems"]]
        for check, count in found["checks"].items():
            assert count == sum(problem[0] == check for problem in listed)
        said = verify(folder, "--quiet", code=1)
        for each in listed:
            assert ": ".join(filter(None, each[1:])) in said
        return listed

    return find


def files_of(form, shard):
    return shard_files(f"{shard}{SHARD_FORMATS[form].suffixes[0]}", SHARD_FORMATS[form])


def test_a_whole_folder(form, folder, verify):
    said = verify(folder)
    assert f"{folder} is whole, 19 rows in 5 shards, " in said
    found = json.loads(verify(folder, "--json"))
    assert found["whole"] and found["problems"] == [] and set(found["checks"].values()) == {0}
    assert (found["rows"], found["shards"], found["format"]) == (19, 5, form)


def test_a_flipped_bit_in_each_file(form, folder, problems):
    for name in files_of(form, "shard-2"):
        whole = (folder / name).read_bytes()
        content = bytearray(whole)
        content[len(whole) // 3] ^= 1
        (folder / name).write_bytes(content)
        found = problems()
        assert ("files", name, "", "has another SHA-256 than its sidecar says") in found
        assert {each[1] for each in found} <= {name, files_of(form, "shard-2")[0]}
        (folder / name).write_bytes(whole)


def test_a_cut_shard(form, folder, problems):
    for name in files_of(form, "shard-2"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
        found = problems()
        size, cut = f"{len(whole):,}", f"{len(whole) // 2:,}"
        what = f"has {cut} bytes, but its sidecar says {size}: it is cut or was changed"
        assert ("files", name, "", what) in found
        rows = [each for each in found if each[0] == "rows"]
        assert len(rows) == 1 and rows[0][1] == files_of(form, "shard-2")[0] and rows[0][3].endswith("of 9 rows")
        (folder / name).unlink()
        assert ("files", name, "", "is missing") in problems()
        (folder / name).write_bytes(whole)


def test_tokens_that_cannot_be(form, folder, problems):
    samples = samples_of(2, 9)
    samples[1].tokens[0, 1, 2] = VOCAB_SIZE
    samples[3].tokens[1, 0, 0] = 65535
    samples[4] = samples[4]._replace(tokens=samples[4].tokens[:1])
    write_shard(folder, form, "shard-2", samples)
    shard = files_of(form, "shard-2")[0]
    assert problems() == [
        ("rows", shard, "s2/é1", "a token is 300, but the codes are 0 to 299"),
        ("rows", shard, "s2/é3", "a token is 65535, but the codes are 0 to 299"),
        ("rows", shard, "s2/é4", "its tokens have 1 codebooks, not 2"),
    ]
    samples = [each._replace(tokens=(each.tokens % 200).astype(np.uint8)) for each in samples_of(2, 9)]
    write_shard(folder, form, "shard-2", samples)
    assert problems() == [("rows", shard, each.key, "its tokens are uint8, not uint16") for each in samples]


def test_metadata_that_is_missing(form, folder, problems):
    samples = samples_of(2, 9)
    del samples[5].metadata["source"]
    samples[6].metadata["width"] = 0
    write_shard(folder, form, "shard-2", samples)
    shard = files_of(form, "shard-2")[0]
    assert problems() == [
        ("rows", shard, "s2/é5", "its metadata is missing or damaged"),
        ("rows", shard, "s2/é6", "its metadata has no width and height"),
    ]


def test_wrong_counts(form, folder, problems):
    shard = files_of(form, "shard-2")[0]
    seal(folder, shard, 8)
    assert problems() == [
        ("manifest", "manifest.json", "", "counts 19 images, but the sidecars have 18"),
        ("manifest", "manifest.json", "", "counts 19 rows, but the sidecars have 18"),
        ("rows", shard, "", "holds 9 rows, but its sidecar counts 8"),
    ]
    seal(folder, shard, 9)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"shards": 6, "failures": 2}))
    assert problems() == [
        ("manifest", "manifest.json", "", "counts 6 shards, but the sidecars have 5"),
        ("manifest", "manifest.json", "", "counts 2 failures, but the sidecars have 0"),
    ]


def test_a_command_that_has_not_ended(form, folder, problems, verify):
    """Before its first new shard, its folder has all that an earlier one counted."""
    write_totals(folder, form, has_ended=False)
    what = "is of a tokenize-images command that has not ended, so shards may be missing"
    assert problems() == [("manifest", "manifest.json", "", what)]
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["has_ended"]  # of a folder from before
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert f"{folder} is whole" in verify(folder)


def test_keys_of_two_shards_and_twice_in_one(form, folder, problems):
    shard, other = files_of(form, "shard-2")[0], files_of(form, "shard-3")[0]
    samples = samples_of(2, 9)
    write_shard(folder, form, "shard-2", [*samples[:8], samples[8]._replace(key="s2/é0")])
    write_shard(folder, form, "shard-3", [samples[4]])
    assert problems() == [
        ("keys", shard, "s2/é0", f"is the key of 2 rows, in {shard}"),
        ("keys", shard, "s2/é4", f"is the key of 2 rows, in {shard}, {other}"),
    ]


def test_a_missing_and_a_damaged_sidecar_and_an_orphan(form, folder, problems):
    shard = files_of(form, "shard-2")[0]
    sidecar = (folder / "shard-2.json").read_bytes()
    totals = [
        ("manifest", "manifest.json", "", "counts 5 shards, but the sidecars have 4"),
        ("manifest", "manifest.json", "", "counts 19 images, but the sidecars have 10"),
        ("manifest", "manifest.json", "", "counts 19 rows, but the sidecars have 10"),
    ]
    orphan = ("sidecars", shard, "", "has no sidecar that describes it, so it may not be whole")
    (folder / "shard-2.json").unlink()
    assert problems() == [*totals, orphan]
    (folder / "shard-2.json").write_bytes(sidecar[:50])
    assert problems() == [*totals, ("sidecars", "shard-2.json", "", "is damaged, or no JSON"), orphan]
    changed = json.loads(sidecar) | {"schema_version": 3}
    (folder / "shard-2.json").write_text(json.dumps(changed))
    what = "is damaged, or the sidecar of a shard of another name or of another version of vistok"
    assert problems() == [*totals, ("sidecars", "shard-2.json", "", what), orphan]
    (folder / "shard-2.json").write_bytes(sidecar)
    for name in files_of(form, "shard-2"):
        shutil.copy(folder / name, folder / name.replace("shard-2", "left-over"))
    assert problems() == [("sidecars", shard.replace("shard-2", "left-over"), "", orphan[3])]


def test_files_of_others(form, folder, problems, verify):
    (folder / "notes.txt").write_text("mine")
    (folder / "stats.json").write_text('{"images": 3}')
    assert "is whole" in verify(folder)
    index = f"{files_of(form, 'shard-2')[0]}.idx"
    (folder / index).write_bytes(bytes(16))
    assert "is whole" in verify(folder)
    (folder / index).unlink()
    suffix = SHARD_FORMATS[form].suffixes[-1]
    (folder / f"mine{suffix}").write_bytes(b"")
    (folder / "more.jsonl").write_bytes(b'{"text": "mine"}\n')
    (folder / f"sub{suffix}").mkdir()
    found = {each[:2] + each[3:] for each in problems()}
    damaged = "is damaged beyond recognition, and has no sidecar"
    assert ("sidecars", "more.jsonl", "was not written by vistok, and has no sidecar") in found
    assert ("sidecars", f"mine{suffix}", damaged) in found
    assert ("sidecars", f"sub{suffix}", "is no file") in found and len(found) == 3


def test_shards_of_other_settings_among_them(form, folder, problems):
    seal(folder, files_of(form, "shard-2")[0], 9, precision="bfloat16-eager-8", views=Views(flip=True))
    what = "was made with precision bfloat16-eager-8, not float32 and --flip given, not left out as in manifest.json"
    assert problems() == [("sidecars", files_of(form, "shard-2")[0], "", what)]


def test_shards_of_others_among_them(form, folder, problems):
    seal(folder, files_of(form, "shard-2")[0], 9, fingerprint="0" * 64)
    other = "megatron" if form != "megatron" else "wds"
    write_shard(folder, other, "another", samples_of(7, 1))
    write_totals(folder, form)
    assert problems() == [
        ("sidecars", files_of(other, "another")[0], "", f"is not {form}, the format in manifest.json"),
        (
            "sidecars",
            files_of(form, "shard-2")[0],
            "",
            "is of another tokenizer (000000000000) than hf://someone/something in manifest.json",
        ),
    ]
    assert FINGERPRINT != "0" * 64


def test_a_manifest_that_is_missing_or_damaged(form, folder, problems):
    shard = files_of(form, "shard-2")[0]
    whole = (folder / shard).read_bytes()
    (folder / shard).write_bytes(whole[:-5])
    size = f"has {len(whole) - 5:,} bytes, but its sidecar says {len(whole):,}: it is cut or was changed"
    for content, what in (
        (None, "is missing, which says what tokens are allowed: run the same tokenize-images command again"),
        (b"{}", "is not a manifest of this vistok (model: Field required): put the right one back"),
    ):
        (folder / "manifest.json").unlink()
        if content is not None:
            (folder / "manifest.json").write_bytes(content)
        found = problems()
        assert found[0] == ("manifest", "manifest.json", "", what)
        assert ("files", shard, "", size) in found
        (folder / "manifest.json").write_bytes(b"")
