"""Figures before and after are of the same images, and a report that fails loses none of them."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

import vistok
from runs import SWAP, finetune
from samples import noise_image
from vistok.evaluation import reference_metrics
from vistok.train.data import source_images
from vistok.train.data.config import SourceConfig
from vistok.train.finetune import compare, page, run


@pytest.fixture
def own(photos, tmp_path):
    """Photos that a test may remove."""
    return Path(shutil.copytree(photos, tmp_path / "photos"))


def held_out_images(folder):
    """Return those of a fine-tuning that holds out half."""
    entries = source_images.SourceImages().of(SourceConfig(path=[str(folder)], split=(0, 0.5)))
    return [Path(entry.path) for entry in entries]


HALF = ["--set", "data.held_out=0.5"]


def test_the_figures_of_both_sides_are_shown_and_written(fsq_folder, photos, whole):
    metrics = json.loads((whole / "metrics.json").read_text())
    assert metrics["images"] == 1 and metrics["evaluated"] == "1 of 8 images are held out for evaluation"
    for side, folder in (("before", fsq_folder), ("after", whole / "export")):
        assert metrics[side]["fingerprint"] == vistok.load(folder).fingerprint
    assert metrics["before"]["bits_per_pixel"] == pytest.approx(9 / 64)
    assert metrics["after"]["bits_per_pixel"] == pytest.approx(5 / 64)
    page = (whole / "report.html").read_text()
    assert "Before and after" in page and f"{metrics['after']['psnr']:.2f} dB" in page
    assert "LPIPS (VGG) was not measured. The weights of torchvision&#x27;s vgg16 are not" in page


def test_reference_metrics_are_those_of_the_evaluation(tokenizer_folder, photos, tmp_path, monkeypatch):
    class Distance(reference_metrics.nn.Module):
        def forward(self, original, reconstruction):
            return (original - reconstruction).abs().mean(dim=(1, 2, 3))

    monkeypatch.setattr(reference_metrics, "build_perceptual", lambda *_: Distance())
    said = finetune(
        tokenizer_folder, photos, tmp_path / "out", "--only", "decoder", "--steps", 1, "--lpips-weights", "FILE"
    )
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert 0 < metrics["before"]["lpips"] != metrics["after"]["lpips"] > 0 and list(metrics["not_measured"]) == ["rfid"]
    assert "LPIPS (VGG)" in said and "rFID (Inception) was not measured. There are no weights here." in said


def test_weights_that_cannot_be_read_are_refused_before_training(tokenizer_folder, photos, tmp_path):
    said = finetune(
        tokenizer_folder, photos, tmp_path / "out", "--steps", 1, "--inception-weights", tmp_path / "none.pth", code=2
    )
    assert "There are no weights here." in said and not (tmp_path / "out" / "stages").exists()


def test_json_is_one_line(fsq_folder, photos, whole, capfd):
    metrics = json.loads(finetune(fsq_folder, photos, whole, *SWAP, "--json", "--quiet"))
    assert metrics["tokenizer"] == str(whole / "export") and metrics["after"]["psnr"] > 0


def test_a_report_that_fails_does_not_end_it(fsq_folder, photos, whole, tmp_path, monkeypatch):
    def refuse(report):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), "somewhere")

    monkeypatch.setattr(page, "render", refuse)
    said = finetune(fsq_folder, photos, whole, *SWAP)
    assert "warning: the report could not be written: Permission denied (somewhere)" in said


def test_damaged_lines_of_a_stage_are_notes_of_the_report(fsq_folder, photos, whole, tmp_path):
    late = tmp_path / "late"
    shutil.copytree(whole, late)
    (late / "finetune.yaml").write_text((late / "finetune.yaml").read_text().replace(str(whole), str(late)))
    with open(late / "stages" / "2-decoder" / "timing.jsonl", "a") as file:
        file.write("garbage\n")
    finetune(fsq_folder, photos, late, *SWAP)
    page = (late / "report.html").read_text()
    assert "2-decoder/timing.jsonl has damaged lines, which are left out: line" in page


@pytest.mark.parametrize("owner, name", [(run, "_run_stage"), (run, "compare")])
def test_images_that_vanish_during_a_call_stop_nothing(fsq_folder, own, tmp_path, monkeypatch, owner, name):
    function, gone = getattr(owner, name), held_out_images(own)[1]

    def vanish(*arguments, **settings):
        gone.unlink(missing_ok=True)
        return function(*arguments, **settings)

    monkeypatch.setattr(owner, name, vanish)
    said = finetune(fsq_folder, own, tmp_path / "out", *SWAP, *HALF)
    assert f"{gone} cannot be used (the file cannot be read: No such file or directory)" in said
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["images"] == 3


def test_figures_of_different_images_are_not_compared(tokenizer_folder, own, tmp_path, monkeypatch):
    evaluate, gone = compare._evaluate, held_out_images(own)[1]

    def evaluated(*arguments):
        found = evaluate(*arguments)
        gone.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(compare, "_evaluate", evaluated)
    said = finetune(tokenizer_folder, own, tmp_path / "out", "--steps", 1, *HALF, code=1)
    assert "4 images could be read to evaluate the tokenizer before, and 3 to evaluate the tokenizer after" in said


def test_unreadable_images_end_no_stage(fsq_folder, own, tmp_path):
    (own / "broken.jpg").write_bytes(b"no image")
    said = finetune(fsq_folder, own, tmp_path / "out", *SWAP)
    assert "warning:" in said and "broken.jpg cannot be used" in said
    said = finetune(fsq_folder, own, tmp_path / "stop", *SWAP, "--set", "data.on_error=stop", code=1)
    assert "broken.jpg cannot be used" in said and "repair or remove it" in said


def test_a_whole_call_lists_its_images_once(fsq_folder, photos, tmp_path, monkeypatch):
    """Three stages, the split, the record, the latents and the evaluation."""
    listed, index = [], source_images.index_images
    monkeypatch.setattr(source_images, "index_images", lambda path: listed.append(path) or index(path))
    finetune(fsq_folder, photos, tmp_path / "out", *SWAP)
    assert listed == [str(photos)]


def test_sources_of_any_size_are_one_collection(tokenizer_folder, photos, tmp_path):
    files = sorted(photos.iterdir())
    noise_image(70, 70).save(tmp_path / "alone.png")
    for name, data, count in (("files", [*files, files[0]], 8), ("folders", [photos, tmp_path / "alone.png"], 9)):
        said = finetune(tokenizer_folder, data, tmp_path / name, "--steps", 1)
        assert f"1 of {count} images are held out" in said


def test_images_can_be_in_a_list_and_few(tokenizer_folder, tmp_path):
    Image.new("RGB", (70, 70)).save(tmp_path / "one.png")
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'one.png'}\n")
    said = finetune(tokenizer_folder, tmp_path / "list.txt", tmp_path / "out", "--steps", 1)
    assert "too few images to hold any out (1): evaluation on the training images themselves" in said
