"""A folder of packed sequences after kills, further calls, other settings, and files of others."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shard_files import contents
from stops import StopsAt
from token_folders import samples_of, seal, write_folder, write_shard, write_totals
from vistok.inference.pack import workers
from vistok.language.text_tokenizers import load_text_tokenizer
from vistok.sequences.vocabulary import Vocabulary
from vistok.tokenizer.folder_lock import LOCK_FILE

OTHERS = "was not written by vistok and would be replaced: move it away, or give another --out folder."


@pytest.fixture
def few(tmp_path):
    """Two token shards."""
    return write_folder(tmp_path / "few", "wds", rows=(3, 1))


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_kill_at_any_moment_loses_nothing_and_repeats_nothing(few, pack, tmp_path):
    """At each rename and removal; what cleans up after an exception does not run either."""
    pytest.importorskip("pyarrow")
    pack(few, tmp_path / "whole", "--format", "parquet")
    expected, unlink = contents(tmp_path / "whole"), Path.unlink
    for number in range(1, 40):
        out = tmp_path / str(number)
        stops = StopsAt(number, for_good=True)
        stopping = stops.within(unlink)

        def removed(path, stopping=stopping, **options):
            return (unlink if path.name == LOCK_FILE else stopping)(path, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pathlib.Path.replace", stops.within(Path.replace))
            patch.setattr("pathlib.Path.unlink", removed)
            pack(few, out, "--format", "parquet", code=1 if number < 10 else 0)
        done = {}
        for name, content in contents(out).items() if out.exists() else ():
            if name.startswith("shard") and name.endswith(".json"):
                for file in json.loads(content)["files"]:
                    assert hashlib.sha256((out / file["name"]).read_bytes()).hexdigest() == file["sha256"]
                done |= {name: (out / name).stat().st_mtime_ns}
        pack(few, out, "--format", "parquet")
        assert contents(out) == expected and done.items() <= times(out).items()
        if stops.left > 0:
            break
    assert number == 10  # seven renames, and twice a sidecar is removed before its shard changes


def test_the_same_call_does_nothing_and_a_grown_folder_is_packed_further(few, pack, tmp_path):
    out = tmp_path / "p"
    pack(few, out)
    before = times(out)
    assert "shards      0 written, 2 done before" in pack(few, out)
    same = {name for name in before if name.startswith("shard")}
    assert {name: before[name] for name in same} == {name: times(out)[name] for name in same}
    write_shard(few, "wds", "new", samples_of(7, 1, tmp_path))
    write_totals(few, "wds")
    assert "shards      1 written, 2 done before" in pack(few, out)
    assert {name: before[name] for name in same} == {name: times(out)[name] for name in same}
    (out / "shard-1.json").unlink()
    assert "shards      1 written, 2 done before" in pack(few, out)
    (out / "shard-1.bin").write_bytes(b"")
    assert "shards      1 written, 2 done before" in pack(few, out)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--order", "image-caption"), "--template {caption}{image}, not {image}{caption}"),
        (("--loss", "image"), "--loss both, not image"),
        (("--mask-at", "prediction"), "--mask-at target, not prediction"),
        (("--bos", "<s>"), "--bos none, not <s>"),
        (("--eos", "</s>"), "--eos none, not </s>"),
        (("--length", 99, "--pad", "<pad>"), "--pad none, not <pad> and --length none, not 99"),
        (("--on-missing", "image"), "--on-missing skip, not image"),
        (("--format", "npy"), "--format megatron, not npy"),
        (("--caption", "cls"), "--caption txt, not cls"),
        (("--layout-option", "grid=[2,3]"), "--layout-option none, not {'grid': (2, 3)}"),
    ],
)
def test_other_settings_are_refused(few, pack, tmp_path, options, what):
    pack(few, tmp_path / "p")
    said = pack(few, tmp_path / "p", *options, code=2)
    assert f"{tmp_path / 'p'} was made with {what}: use another --out folder, or --overwrite." in said
    (tmp_path / "p" / "manifest.json").unlink()
    said = pack(few, tmp_path / "p", *options, code=2)
    if options[0] != "--format":
        assert "shard-0 was packed with other settings: use another --out folder, or --overwrite." in said


def test_another_layout_text_tokenizer_or_tokenizer_is_refused(few, pack, text_file, tmp_path):
    pack(few, tmp_path / "p")
    assert "--layout raster, not interleaved" in pack(few, tmp_path / "p", layout="interleaved", code=2)
    other = tmp_path / "other"
    other.mkdir()
    definition = json.loads(text_file.read_text())
    definition["normalizer"] = {"type": "Lowercase"}
    (other / "tokenizer.json").write_text(json.dumps(definition))
    beside = Vocabulary.load(text_file.parent / "with-vocabulary-2")
    replace(beside, text_tokenizer=load_text_tokenizer(other).digest).save(other)
    assert "was made with the text tokenizer " in pack(few, tmp_path / "p", text=other, code=2)
    write_totals(few, "wds", fingerprint="e" * 64, model="hf://another/one")
    for name in ("shard-0", "shard-1"):
        count = json.loads((few / f"{name}.json").read_text())["images"]
        seal(few, f"{name}.tar", count, fingerprint="e" * 64)
    said = pack(few, tmp_path / "p", code=2)
    assert f"was made with tokens of hf://someone/something ({'f' * 12}), not hf://another/one: use another" in said


def test_other_token_shards_of_the_same_names_are_refused(few, pack, tmp_path):
    pack(few, tmp_path / "p")
    other = write_folder(tmp_path / "other", "wds", rows=(2, 1))
    said = pack(other, tmp_path / "p", code=2)
    assert "shard-0 was packed from another shard-0.tar than the one given now: use another --out folder, or" in said
    assert "shards      2 written, 0 done before" in pack(other, tmp_path / "p", "--overwrite")


def test_overwrite_removes_what_vistok_wrote_and_nothing_else(few, pack, tmp_path):
    out = tmp_path / "p"
    pack(few, out, "--format", "npy")
    (out / "mine.txt").write_text("mine")
    (out / "shard-1.json").unlink()  # as a kill leaves it
    pack(few, out, "--format", "megatron", "--overwrite")
    assert not list(out.glob("*.npy")) and (out / "mine.txt").read_text() == "mine"
    assert sorted(path.name for path in out.glob("shard-1*")) == [
        *("shard-1.bin", "shard-1.idx", "shard-1.json", "shard-1.jsonl", "shard-1.loss.bin", "shard-1.loss.idx"),
    ]


def test_overwrite_leaves_a_table_that_somebody_made_of_a_shard(few, pack, tmp_path):
    """It has vistok's mark, but another name, or another encoding under the name of a shard whose sidecar is gone."""
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "p"
    pack(few, out, "--format", "parquet")
    table = parquet.read_table(out / "shard-0.parquet")
    parquet.write_table(table.slice(0, 1), out / "mine.parquet")
    mine = (out / "mine.parquet").read_bytes()
    assert b"vistok.packed_shard" in mine
    pack(few, out, "--format", "parquet", "--overwrite")
    assert (out / "mine.parquet").read_bytes() == mine
    (out / "shard-0.json").unlink()
    (out / "mine.parquet").rename(out / "shard-0.parquet")
    assert "shard-0.parquet" in pack(few, out, "--format", "parquet", "--overwrite", code=2)
    assert (out / "shard-0.parquet").read_bytes() == mine


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "vocabulary.json",
        "tokenizer.json",
        "shard-0.json",
        "shard-0.jsonl",
        "shard-0.loss.bin",
        "shard-0.idx",
    ],
)
def test_files_of_others_are_not_replaced(few, pack, tmp_path, name):
    out = tmp_path / "p"
    out.mkdir()
    (out / name).mkdir()
    options = ("--extend",) if name == "tokenizer.json" else ()
    assert f"{out / name} {OTHERS}" in pack(few, out, *options, code=2)
    (out / name).rmdir()
    content = '{"images": []}' if name.endswith(".json") else "mine\n"
    (out / name).write_text(content)
    if name in ("shard-0.loss.bin", "shard-0.idx"):
        (out / "shard-0.jsonl").write_text('{"mine": 1}\n')
    said = pack(few, out, *options, code=2)
    assert OTHERS in said if name != "manifest.json" else f"{out} does not hold packed sequences, as its" in said
    assert (out / name).read_text() == content


def test_a_damaged_token_shard_is_named_and_the_others_are_packed(few, pack, tmp_path):
    shard = few / "shard-0.tar"
    content = shard.read_bytes()
    shard.write_bytes(content.replace(b"caption 0 0", b"caption 0 1"))
    said = pack(few, tmp_path / "p", code=1)
    assert f"damaged: {shard} does not match its sidecar (SHA-256): run verify-tokens." in said
    assert (
        "nothing was written for 1 damaged shard: mend what verify-tokens lists and run the same command again" in said
    )
    assert "shards      1 written" in said and not (tmp_path / "p" / "shard-0.json").exists()
    shard.write_bytes(content)
    assert "shards      1 written, 1 done before" in pack(few, tmp_path / "p")


def test_what_is_whole_can_be_packed_before_the_rest(few, pack, tmp_path):
    shutil.move(few / "shard-0.json", tmp_path / "kept.json")
    said = pack(few, tmp_path / "p", code=2)
    assert f"{few} is not whole: shard-0.tar has no sidecar" in said and "whole with --skip-incomplete" in said
    said = pack(few, tmp_path / "p", "--skip-incomplete")
    assert (
        "shards      1 written, 0 done before" in said and "not whole yet, left out: shard-0.tar has no sidecar" in said
    )
    shutil.move(tmp_path / "kept.json", few / "shard-0.json")
    assert "shards      1 written, 1 done before" in pack(few, tmp_path / "p")


def test_processes_write_the_same_bytes(tokens, pack, tmp_path):
    pack(tokens, tmp_path / "one", "--length", 64, "--pad", "<pad>")
    said = pack(tokens, tmp_path / "two", "--length", 64, "--pad", "<pad>", "--workers", 2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") and "11 packed, 8 skipped" in said


def test_a_worker_that_ends_is_a_sentence(few, pack, tmp_path, monkeypatch):
    monkeypatch.setattr(workers.sys, "executable", shutil.which("false"))
    said = pack(few, tmp_path / "p", "--workers", 2, code=1)
    assert "ended with code 1: run the same command again, with fewer --workers if the memory is full." in said
    assert "The worker that packed shard-" in said
