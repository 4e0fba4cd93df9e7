"""What tokenize-images refuses, and what it says then."""

import json
import os

import pytest

from samples import PHOTOS, image_bytes, noise_image

PNG = image_bytes(noise_image(64, 64), "PNG")


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "w" / "a.png"
    path.parent.mkdir()
    path.write_bytes(PNG)
    return path


def test_input_shards_are_not_overwritten_by_their_tokens(tokenize, make_tar, tmp_path):
    shard = make_tar(tmp_path / "data.tar", [("a.png", PNG)])
    before = shard.read_bytes()
    said = tokenize(shard, "--out", tmp_path, "--overwrite", code=2)
    assert "data.tar would be overwritten by" in said and "give another --out folder" in said
    assert shard.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["data.tar"]


def test_an_image_is_not_overwritten_by_the_preview(tokenize, image):
    mine = image.rename(image.with_name("preview.png"))
    assert "preview.png would be overwritten by" in tokenize(mine.parent, "--out", mine.parent, "--preview", 1, code=2)
    assert mine.read_bytes() == PNG and len(list(mine.parent.iterdir())) == 1
    assert "1 tokenized, 0 failed" in tokenize(mine.parent, "--out", mine.parent)


def test_an_output_folder_inside_the_input_is_not_tokenized(tokenize, image):
    out = image.parent / "tokens"
    assert "1 tokenized" in tokenize(image.parent, "--out", out, "--preview", 1)
    assert "0 written, 1 done before" in tokenize(image.parent, "--out", out, "--preview", 1)


def test_a_folder_is_needed_that_can_be_written_to(
    tokenize, detokenize, evaluate_command, image, tmp_path, monkeypatch
):
    calls = (lambda *a: tokenize(image, *a, code=2), lambda *a: detokenize(tmp_path, *a, code=2))
    for call in (*calls, lambda *a: evaluate_command(image, *a, code=2)):
        assert f"--out is {image}, but {image} is a file: give a folder." in call("--out", image)
        assert f"but {image} is a file: give a folder." in call("--out", image / "deeper")
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to("nowhere")
        assert f"but {tmp_path / 'link'} is a link to nowhere: give a folder." in call("--out", tmp_path / "link")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    said = tokenize(image, "--out", tmp_path / "new" / "out", code=2)
    assert f"but {tmp_path} cannot be written to: change its permissions, or give another." in said
    assert image.read_bytes() == PNG and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (13, "Permission denied ({}/manifest.json): change its permissions, or take another path."),
        (28, "the disk is full ({}/manifest.json): make room and run the same command again."),
        (5, "Input/output error ({}/manifest.json): check the disk and run the same command again."),
    ],
)
def test_errors_of_the_disk_say_what_to_do(tokenize, image, tmp_path, monkeypatch, number, sentence):
    def refuse(descriptor):
        raise OSError(number, os.strerror(number), str(tmp_path / "out" / "manifest.json"))

    monkeypatch.setattr("os.fsync", refuse)
    said = tokenize(image, "--out", tmp_path / "out", code=1)
    assert said.endswith("tokenize-images: " + sentence.format(tmp_path / "out") + "\n")


def test_full_memory_is_one_sentence(tokenize, image, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("vistok.inference.tokenize.run.plan_shards", full)
    said = tokenize(image, "--out", tmp_path / "out", code=1)
    assert "tokenize-images: the memory is full: close other programs, or take smaller images or batches." in said


def test_braces_without_a_partner_are_a_wrong_call(tokenize, tmp_path):
    said = tokenize("x{0..", "--out", tmp_path / "out", code=2)
    assert "x{0.. does not exist and has unbalanced braces: write a range as photos-{0000..0009}.tar." in said


def test_numbers_agree_with_their_nouns(tokenize, make_tar, image, tmp_path):
    (image.parent / "note.md").write_text("text")
    said = tokenize(image.parent, "--out", tmp_path / "one")
    assert "1 image in 1 shard, 0 failures listed" in said
    assert "other files 1 passed over: 1 .md" in said
    make_tar(tmp_path / "none.tar", [])
    said = tokenize(image, tmp_path / "none.tar", "--out", tmp_path / "two")
    assert "1 image in 2 shards" in said and "  empty: none, there is no file in its input" in said


def test_fast_writes_down_what_it_calculated_in(tokenize, image, tmp_path, monkeypatch):
    out = tmp_path / "out"
    said = tokenize(PHOTOS, "--out", out, "--fast")
    assert "of the tokens of 6 images are those of float32" in said
    precision = json.loads((out / "manifest.json").read_text())["precision"]
    assert precision in ("bfloat16-eager-8", "float32-eager-8")
    assert f"was made with precision {precision}, not " in tokenize(PHOTOS, "--out", out, code=2)
    # A longer call, in which compiling would pay, keeps the precision of the folder's first call.
    monkeypatch.setattr("vistok.inference.tokenize.settings.COMPILING_PAYS", 0)
    assert "0 written, 1 done before" in tokenize(PHOTOS, "--out", out, "--fast")
    assert json.loads((out / "manifest.json").read_text())["precision"] == precision
    # Another batch size rounds differently, and is not mixed.
    for option, value in (("--batch-size", 3), ("--max-batch-tokens", 3 * (64 // 8) ** 2)):
        said = tokenize(PHOTOS, "--out", out, "--fast", option, value, code=2)
        assert f"was made with precision {precision}, not " in said
        assert (
            "-eager-3: leave out --batch-size and --max-batch-tokens, use another --out folder, or --overwrite." in said
        )
    said = tokenize(PHOTOS, "--out", out, "--fast", "--flip", "--batch-size", 3, code=2)
    assert "--flip" in said and "leave out --batch-size and --max-batch-tokens, use another" in said


def test_a_folder_that_cannot_be_read_is_failed_work_and_nothing_is_sealed(tokenize, image, tmp_path, monkeypatch):
    (image.parent / "closed").mkdir()
    scan = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    with monkeypatch.context() as patch:  # root may read every folder
        patch.setattr(os, "scandir", scandir)
        said = tokenize(image.parent, "--out", tmp_path / "out", code=1)
    assert f"Permission denied ({image.parent / 'closed'}): change its permissions, or take another path." in said
    assert not (tmp_path / "out").exists()
    assert "1 tokenized" in tokenize(image.parent, "--out", tmp_path / "out")
