"""verify-tokens on folders that tokenize-images wrote: grids, the sample of rows, what it prints, and wrong calls."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import vistok
from samples import image_bytes, noise_image, stored_samples
from token_folders import seal, write_folder, write_shard
from vistok.inference.token_shards.sidecar import Sidecar, write_sidecar
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.token_shards.token_samples import TokenSample

NAMES = [f"{index}.png" for index in range(5)]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index, name in enumerate(NAMES):
        smooth = noise_image(4, 3, index).resize((64 + 8 * index, 40), Image.Resampling.BICUBIC)
        (folder / name).write_bytes(image_bytes(smooth, "PNG"))
    return folder


@pytest.fixture
def folder(tokenize, images, tmp_path):
    tokenize(images, "--out", tmp_path / "t", "--size", "native", "--shard-size", 3)
    return tmp_path / "t"


def test_the_table_has_80_columns(folder, verify):
    said = verify(folder).splitlines()
    assert said[0] == f"{'check':<10}{'of':<48}{'checked':>12}{'problems':>10}"
    assert said[5] == f"{'grids':<10}{'grids of the sizes of the images':<48}{5:>12}{0:>10}"
    assert len(said) == 8 and all(len(line) <= 80 for line in said[:-1])


def test_grids_are_those_of_the_sizes_of_the_images(folder, verify):
    def swap(content):
        return re.sub(rb'"width": 72, "height": 40', b'"width": 88, "height": 40', content)

    shard = folder / "images-00000.tar"
    shard.write_bytes(swap(shard.read_bytes()))
    reseal(folder, "images-00000.tar")
    said = verify(folder, code=1)
    assert "grids     images-00000.tar: 1: its grid is 5 x 9, but an image 88 x 40 has 5 x 11" in said
    assert "is not whole: 1 problem, 5 rows in 2 shards" in said


def reseal(folder, shard):
    """Write a sidecar with the hash of a shard as it is now."""
    name = shard.replace(".tar", ".json")
    before = json.loads((folder / name).read_text())
    seal(folder, shard, before["images"])
    files = json.loads((folder / name).read_text())["files"]
    write_sidecar(LocalStore(folder), Sidecar(**(before | {"files": files})))


def test_without_the_model_grids_are_not_compared(tmp_path, verify):
    folder = write_folder(tmp_path / "t", "wds")
    said = verify(folder)
    assert "hf://someone/something may have to be downloaded: name it with --model" in said
    assert re.search(r"grids .* - +0\n", said) and "is whole" in said
    assert "not_checked" in json.loads(verify(folder, "--json"))
    said = verify(write_folder(tmp_path / "u", "wds", model="photo-f8"))
    assert "holds tokens of photo-f8, but photo-f8 makes others" in said


def test_deep_compares_a_sample_with_its_images(folder, images, verify, tokenizer_folder):
    found = json.loads(verify(folder, "--deep", "--source", images, "--json"))["deep"]
    assert (found["rows"], found["decoded"], len(found["compared"])) == (5, 5, 5)
    tokenizer = vistok.load(tokenizer_folder)
    tokenizer = tokenizer.with_preprocessing(tokenizer.config.preprocessing.model_copy(update={"size": "native"}))
    for row in found["compared"]:
        with Image.open(images / f"{row['key']}.png") as image:
            width, height = image.size
            decoded = tokenizer.decode(tokenizer.encode(image), output="tensor")[0, :, :height, :width]
            original = torch.from_numpy(np.array(image)).permute(2, 0, 1).double()
        error = ((decoded * 255).round().double() - original).square().mean()
        assert row["psnr"] == pytest.approx(10 * torch.log10(255**2 / error).item(), abs=1e-3)
        assert row["agreement"] == 1
    said = verify(folder, "--deep", "--source", images, "--samples", 2)
    assert "sources   of 2 of 2 rows found" in said and re.search(r"PSNR      \d+\.\d\d dB on average", said)
    assert all(len(line) <= 80 for line in said.splitlines()[:-1])


def test_deep_without_images(folder, images, verify, monkeypatch, tmp_path):
    said = verify(folder, "--deep")
    assert "sources   of none of 5 rows found: name them with --source" in said
    (tmp_path / "others").mkdir()
    shutil.copy(images / "1.png", tmp_path / "others" / "0.png")  # another image of that name
    said = verify(folder, "--deep", "--source", tmp_path / "others")
    assert "sources   of none of 5 rows found: no file in --source has name and SHA-256" in said
    monkeypatch.chdir(images)  # where the paths that the rows name are
    assert "sources   of 5 of 5 rows found" in verify(folder, "--deep")
    (images / "3.png").write_bytes(b"another")
    assert "sources   of 4 of 5 rows found" in verify(folder, "--deep")


def test_deep_finds_tokens_of_another_image(images, tokenize, verify, tmp_path):
    folder = tmp_path / "t"
    tokenize(images, "--out", folder)
    one, other, *others = [
        TokenSample(sample.key, sample.tokens(), sample.metadata())
        for sample in stored_samples(folder / "images-00000.tar")
    ]
    assert "is whole" in verify(folder, "--deep", "--source", images)
    exchanged = [one._replace(tokens=other.tokens), other._replace(tokens=one.tokens), *others]
    fingerprint = json.loads((folder / "manifest.json").read_text())["fingerprint"]
    write_shard(folder, "wds", "images-00000", exchanged, fingerprint=fingerprint)
    said = verify(folder, "--deep", "--source", images, code=1)
    found = re.findall(
        r"deep      images-00000.tar: (.): its tokens are not those of its source: encoding that again", said
    )
    assert found == ["0", "1"] and "is not whole: 2 problems" in said


@pytest.mark.parametrize("options", [["--flip"], ["--crops", "ten"]])
def test_deep_compares_each_view_with_its_part_of_the_image(options, tokenize, images, tmp_path, verify):
    tokenize(images, "--out", tmp_path / "t", *options)
    rows = 10 if "--flip" in options else 50
    found = json.loads(verify(tmp_path / "t", "--deep", "--source", images, "--samples", "12", "--json"))
    assert found["rows"] == rows and len(found["deep"]["compared"]) == min(rows, 12)
    assert {row["agreement"] for row in found["deep"]["compared"]} == {1}


def test_deep_reads_tars(tokenize, images, make_tar, tmp_path, verify):
    tar = make_tar(tmp_path / "a.tar", [(name, (images / name).read_bytes()) for name in NAMES])
    tokenize(tar, "--out", tmp_path / "t")
    assert "sources   of 5 of 5 rows found" in verify(tmp_path / "t", "--deep", "--source", tar)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing"], "missing does not exist: give a folder that tokenize-images or pack-sequences wrote."),
        (["."], ". has no manifest.json and no sidecar: give a folder that tokenize-images wrote."),
        (["t", "--source", "x"], "--source is for a sample of rows: give --deep too."),
        (["t", "--samples", "3"], "--samples is for a sample of rows: give --deep too."),
        (
            ["t", "--model", "photo-f8"],
            "t holds tokens of {model}, but photo-f8 makes others: give --model the tokenizer",
        ),
        (["t", "--deep", "--source", "nowhere"], "nowhere does not exist"),
    ],
)
def test_wrong_calls_are_a_sentence(arguments, sentence, folder, verify, monkeypatch, tokenizer_folder):
    monkeypatch.chdir(folder.parent)
    said = verify(*arguments, code=2)
    assert f"verify-tokens: {sentence.format(model=tokenizer_folder)}" in said
