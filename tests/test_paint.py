"""examples/paint: from a tar of photos to a model that paints, in a few steps."""

import json
import re
import runpy
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from commands import APPS, ROOT, options
from samples import PHOTOS
from vistok.sequences.vocabulary import Vocabulary

pytest.importorskip("transformers")
pytest.importorskip("tokenizers")
PAINT = ROOT / "examples" / "paint"
CLASSES = {"n01": "cup, coffee cup", "n02": "rocket", "n03": "<s> cat"}


def command(name, *arguments):
    result = CliRunner().invoke(APPS[name], [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


def program(name, *arguments):
    """Run a program as `python examples/paint/NAME.py` would, and return its names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        return runpy.run_path(str(PAINT / f"{name}.py"), run_name="__main__")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer_folder):
    """Images with captions, their tokens, packed sequences, and a model of 20 steps."""
    folder = tmp_path_factory.mktemp("paint")
    photos = sorted(PHOTOS.glob("*.jpg"))
    with tarfile.open(folder / "shard-0000.tar", "w") as tar:
        for index in range(90):
            tar.add(photos[index % 3], f"{[*CLASSES, 'n04'][index % 4]}_{index}.jpg")
    (folder / "classes.txt").write_text("".join(f"{key}\t{names}\n" for key, names in [*CLASSES.items(), ("n04", "x")]))
    only = ",".join(names.split(",")[0] for names in CLASSES.values())
    program(
        "prepare",
        folder / "shard-*.tar",
        "--classes",
        folder / "classes.txt",
        "--only",
        only,
        "--out",
        folder / "images",
    )
    for part in ("train", "held-out"):
        tokens = folder / "tokens" / part
        command("tokenize-images", folder / "images" / part, "--out", tokens, "--model", tokenizer_folder, "--quiet")
        options = ["--extend", "--bos", "<s>", "--layout", "chameleon", "--format", "npy", "--quiet"]
        text = ["--text-tokenizer", folder / "images" / "tokenizer.json"]
        command("pack-sequences", tokens, "--out", folder / "packed" / part, *text, *options)
    small = ["--steps", 20, "--batch-size", 8, "--layers", 1, "--width", 64, "--lr", 0.01]
    packed = folder / "packed"
    program("train", packed / "train", "--held-out", packed / "held-out", "--out", folder / "model", *small)
    return folder


def test_every_image_of_the_classes_is_in_one_folder_with_its_caption(folder):
    found = {part: sorted((folder / "images" / part).glob("*.jpg")) for part in ("train", "held-out")}
    keys = {path.stem for paths in found.values() for path in paths}
    assert keys == {f"{[*CLASSES, 'n04'][index % 4]}_{index}" for index in range(90) if index % 4 < 3}
    assert sum(map(len, found.values())) == len(keys) and all(found.values())
    for path in found["train"]:
        assert path.with_suffix(".txt").read_text() == CLASSES[path.stem[:3]].split(",")[0]


def test_twenty_steps_lower_the_loss(folder):
    curve = json.loads((folder / "model" / "curve.json").read_text())
    assert [point["step"] for point in curve] == list(range(2, 21, 2))
    knows_nothing = 64 * np.log2(Vocabulary.load(folder / "packed" / "train").size)
    assert knows_nothing / 4 < curve[0]["train"] < knows_nothing, "64 codes, each any of all ids"
    for part in ("train", "held_out"):
        assert curve[-1][part] < 0.8 * curve[0][part], curve


def test_samples_are_valid_images_beside_training_images(folder, tokenizer_folder, capsys):
    shown = ["--captions", "cup, rocket", "--columns", 3, "--guidance", 3, "--nearest", folder / "images" / "train"]
    packed = ["--packed", folder / "packed" / "train", "--tokenizer", tokenizer_folder]
    names = program("sample", folder / "model", *packed, *shown, "--out", folder / "sheet.png")
    assert "6 samples" in capsys.readouterr().out
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.size == (names["LABEL"] + 3 * 2 * 64, 2 * 64)
        nearest = sheet.crop((names["LABEL"] + 64, 0, names["LABEL"] + 128, 64))
    known = names["read_images"](folder / "images" / "train", 64)
    away = [np.abs(np.asarray(nearest, int) - np.asarray(image, int)).max() for image in known]
    assert min(away) <= names["STEP"] // 2


def test_the_nearest_image_may_be_mirrored():
    names = runpy.run_path(str(PAINT / "sample.py"))
    known = [Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)) for seed in range(5)]
    far = Image.fromarray(np.clip(np.asarray(known[3], int)[:, ::-1] + 10, 0, 255).astype(np.uint8))
    index, distance = names["nearest"]([known[1], far], known)
    assert index.tolist() == [1, 3]
    moved = np.asarray(far, float) - np.asarray(known[3], float)[:, ::-1]
    assert distance.tolist() == pytest.approx([0, np.sqrt(np.square(moved).mean())], abs=0.1)


def test_a_row_without_its_caption_begins_its_image_at_once(folder):
    names = runpy.run_path(str(PAINT / "train.py"))
    vocabulary = names["Vocabulary"].load(folder / "packed" / "train")
    pad = vocabulary["image"].structure["pad"]
    (rows,) = names["read_rows"](folder / "packed" / "train", pad).tensors
    names["drop_captions"].__globals__["NO_CAPTION"] = 0.5
    shorter = names["drop_captions"](rows, vocabulary, pad)
    begin = vocabulary["image"].structure["begin"]
    dropped = 0
    for row, other in zip(rows.tolist(), shorter.tolist(), strict=True):
        image = row[row.index(begin) : row.index(begin) + 66]
        assert other[0] == row[0] and len(other) == len(row)
        if other != row:
            dropped += 1
            assert other[1:67] == image and set(other[67:]) == {pad}
    assert 0 < dropped < len(rows)


def test_an_unknown_class_is_named(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        wrong = ["--classes", folder / "classes.txt", "--only", "cup,dog", "--out", folder / "none"]
        program("prepare", folder / "shard-*.tar", *wrong)
    assert ended.value.code == 2 and "--only names 'dog', which" in capsys.readouterr().err


def test_the_page_gives_options_that_exist():
    helped = {name: (PAINT / f"{name}.py").read_text() for name in ("prepare", "train", "sample")}
    lines = [line.strip() for line in (PAINT / "README.md").read_text().splitlines() if line.startswith("    ")]
    for line in lines:
        _, _, rest = line.partition("examples/paint/")
        given = set(re.findall(r"(?<= )--[a-z-]+", rest or line))
        if rest:
            missing = {option for option in given if f'"{option}"' not in helped[rest.split(".py")[0]]}
        else:
            missing = given - options(line.split()[0])
        assert not missing, line
    assert len(lines) == 17


def test_the_page_has_the_figures_that_were_measured():
    page = (PAINT / "README.md").read_text()
    measured = json.loads((ROOT / "results" / "paint.json").read_text())
    for row, key in (("step", "step"), ("held out", "held_out"), ("training", "train")):
        assert f"| {row} | {' | '.join(str(point[key]) for point in measured['curve'])} |" in page
    steps = measured["steps_of_recipe"]
    seconds, cores = (
        {name: step[kind] for name, step in steps.items() if name != "nearest"} for kind in ("seconds", "core_seconds")
    )
    assert f"{sum(seconds.values()):,.0f} seconds on two cores ({sum(cores.values()):,.0f} core-seconds)" in page
    for command, names in {
        "finetune-tokenizer": ["finetune"],
        "tokenize-images": ["tokenize", "tokenize-held-out"],
        "pack-sequences": ["pack-train", "pack-held-out"],
        "train.py": ["train"],
        "sample.py": ["sample"],
    }.items():
        took = (sum(kind[name] for name in names) for kind in (seconds, cores))
        assert "| {} | {:.0f} | {:.0f} |".format(command, *took) in page, command
    nearest = measured["rmse_to_nearest_training_image"]
    for each in nearest.values():
        assert str(each["median"]) in page and str(each["min"]) in page
    psnr = measured["tokenizer"]
    assert f"{psnr['psnr_after']:.1f} dB with 1,024 codes" in page and f"{psnr['psnr_before']:.1f} dB with the" in page
    for image in ("sheet.png", "nearest.png"):
        assert (PAINT / image).stat().st_size < 350_000
