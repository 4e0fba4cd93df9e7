"""Evaluation, against figures derived from the images that come out."""

import errno
import json
import math

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

import vistok
from samples import PHOTOS
from vistok.evaluation.reference_metrics import ReferenceMetrics
from vistok.images.file_entry import Entry
from vistok.inference.commands.evaluate_tokenizer import app
from vistok.inference.evaluate.evaluation import EvaluationInputs, evaluate
from vistok.inference.inputs.plan import plan_shards
from vistok.inference.inputs.reading import read_image
from vistok.tokenizer.config import ConfigError

CPU = torch.device("cpu")
TINY = "test_resnet.r160_in1k"


def refuse(problem):
    def build(config, given):
        remedy = given if isinstance(given, str) else "give --inception-weights"
        raise ConfigError(f"{problem}: {remedy}.")

    return build


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Act as a machine without a network: real attempts would be slow and depend on the cache."""
    monkeypatch.setattr(
        "vistok.evaluation.reference_metrics.build_perceptual",
        refuse("torchvision's vgg16 weights cannot be loaded (offline)"),
    )
    monkeypatch.setattr(
        "vistok.evaluation.reference_metrics.load_inception",
        refuse("The Inception weights cannot be loaded"),
    )
    monkeypatch.setattr("vistok.evaluation.reference_weights.is_reachable", lambda url: True)


@pytest.fixture
def call(evaluate_command):
    return evaluate_command


def read_photos(tokenizer):
    (task,) = plan_shards([str(PHOTOS)], 100).shards
    config, multiple = tokenizer.config.preprocessing, tokenizer.downsample
    return [read_image(sample, config, multiple) for sample in task.source.list_samples().samples]


def test_figures_are_those_of_the_images_and_tokens_of_the_api(call, tokenizer_folder, tmp_path):
    said = call(PHOTOS, "--out", tmp_path)
    got = json.loads((tmp_path / "metrics.json").read_text())
    tokenizer = vistok.load(tokenizer_folder)
    images = read_photos(tokenizer)
    decibels, tokens = [], []
    for image in images:
        encoded = tokenizer.encode(Image.fromarray(image.pixels))
        decoded = np.asarray(tokenizer.decode(encoded)[0]).astype(float)
        decibels.append(10 * math.log10(255**2 / ((decoded - image.pixels) ** 2).mean()))
        tokens.append(encoded.numpy().ravel())
    counts = np.bincount(np.concatenate(tokens), minlength=300)
    frequencies = counts[counts > 0] / counts.sum()
    assert got["images"] == 6 and got["tokens"] == 6 * 64 and got["failures"] == []
    assert got["psnr"] == pytest.approx(np.mean(decibels), abs=1e-4)
    assert got["usage"] == pytest.approx((counts > 0).mean())
    assert got["perplexity"] == pytest.approx(math.exp(-(frequencies * np.log(frequencies)).sum()))
    assert got["bits_per_pixel"] == pytest.approx(math.log2(300) / 64)
    assert got["fingerprint"] == tokenizer.fingerprint
    assert "PSNR" in said and f"{got['psnr']:.2f} dB" in said and "6 images" in said


def test_images_that_cannot_be_read_are_listed(call, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"")
    said = call(PHOTOS / "coffee.jpg", tmp_path / "broken.png", "--out", tmp_path / "out")
    assert "failed: broken.png: the file is empty" in said and "1 image" in said and "1 images" not in said
    failures = json.loads((tmp_path / "out" / "metrics.json").read_text())["failures"]
    assert failures == [{"key": "broken", "source": "broken.png", "reason": "the file is empty"}]


def test_no_image_that_can_be_read_is_failed_work(call, tokenizer_folder, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"")
    said = call(tmp_path / "broken.png", "--out", tmp_path / "out", code=1)
    reason = "broken.png cannot be used (the file is empty): give images that can be read."
    assert f"evaluate-tokenizer: There is no image to evaluate on: {reason}" in said
    (tmp_path / "also.png").write_bytes(b"")
    assert "(the file is empty), nor can 1 other: give" in call(tmp_path, "--out", tmp_path / "out", code=1)
    assert not (tmp_path / "out").exists()
    tokenizer = vistok.load(tokenizer_folder)
    inputs = EvaluationInputs([str(tmp_path)])
    inputs.samples.clear()
    with pytest.raises(ValueError, match="no image to evaluate on: give images"):
        evaluate("model", tokenizer, inputs, ReferenceMetrics({}, {}))


def test_the_page_holds_the_figures_and_what_was_not_measured(call, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"")
    said = call(PHOTOS, tmp_path / "broken.png", "--out", tmp_path / "out")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"in {tmp_path / 'out' / 'metrics.json'} and {tmp_path / 'out' / 'report.html'}" in said
    for shown in (
        f"{metrics['psnr']:.2f} dB",
        f"{metrics['ssim']:.4f}",
        f"{metrics['usage']:.1%}",
        f"{metrics['bits_per_pixel']:.4f}",
        metrics["fingerprint"],
        "coffee.jpg",
        "broken.png was left out: the file is empty.",
        "LPIPS (VGG) was not measured. torchvision's vgg16 weights cannot be loaded",
        "rFID (Inception) was not measured. The Inception weights cannot be loaded",
        "<td>higher</td>",
    ):
        assert shown in page.replace("&#x27;", "'")
    assert metrics["not_measured"] == {
        "lpips": "torchvision's vgg16 weights cannot be loaded (offline): give the file of torchvision's vgg16 weights as "
        "--lpips-weights.",
        "rfid": "The Inception weights cannot be loaded: give --inception-weights.",
    }
    assert "lpips not measured: torchvision's vgg16" in said and "rfid not measured: The Inception weights" in said
    assert "lpips" not in metrics and "rfid" not in metrics


def test_weights_that_were_asked_for_must_load(call, tmp_path):
    for option in ("--lpips-weights", "--inception-weights"):
        said = call(PHOTOS, "--out", tmp_path / "out", option, tmp_path / "no.pth", code=2)
        assert "cannot be loaded" in said and option in said and "perceptual" not in said


def test_a_backbone_without_weights_is_said_in_the_words_of_the_command(call, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "vistok.evaluation.reference_metrics.load_backbone",
        refuse("The hub's weights cannot be loaded for resnet18 (offline)"),
    )
    said = call(PHOTOS, "--out", tmp_path / "out", "--frechet", "resnet18", code=2)
    assert "weights cannot be loaded for resnet18 (offline): give its weights as --frechet resnet18=FILE." in said


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("timm") / "tiny.safetensors"
    model = timm.create_model(TINY, pretrained=False).eval()
    save_file(model.state_dict(), path)
    return model, path


def test_frechet_distance_of_a_timm_model(call, tokenizer_folder, tmp_path, tiny):
    model, path = tiny
    said = call(PHOTOS, "--out", tmp_path, "--frechet", f"{TINY}={path}")
    got = json.loads((tmp_path / "metrics.json").read_text())[f"frechet/{TINY}"]
    tokenizer = vistok.load(tokenizer_folder)
    bytes_ = [image.pixels for image in read_photos(tokenizer)]
    decoded = [np.asarray(tokenizer.decode(tokenizer.encode(Image.fromarray(image)))[0]) for image in bytes_]
    config = timm.data.resolve_model_data_config(model)
    mean, deviation = (np.asarray(config[name]).reshape(3, 1, 1) for name in ("mean", "std"))

    def moments(images):
        stacked = [(image.transpose(2, 0, 1) / 255 - mean) / deviation for image in images]
        features = model.forward_features(torch.from_numpy(np.stack(stacked)).float()).mean(dim=(2, 3))
        values = features.detach().double().numpy()
        return values.mean(axis=0), np.cov(values, rowvar=False)

    (m, c), (n, d) = moments(bytes_), moments(decoded)
    # tr (C D)^1/2 is the sum of the roots of the eigenvalues of C D, which has rank 5 at most.
    roots = np.sqrt(np.clip(np.linalg.eigvals(c @ d).real, 0, None)).sum()
    assert got == pytest.approx(((m - n) ** 2).sum() + np.trace(c) + np.trace(d) - 2 * roots, rel=1e-3)
    assert f"Frechet distance, {TINY}" in said and f"{got:.4f}" in said


def test_a_model_named_twice_is_refused_since_its_figures_would_have_one_name(call, tmp_path, tiny):
    both = ["--frechet", f"{TINY}={tiny[1]}"] * 2
    said = call(PHOTOS, "--out", tmp_path / "out", *both, code=2)
    assert f"--frechet names {TINY} twice: give it once, and measure other weights by themselves." in said


def test_a_metric_that_cannot_measure_leaves_the_others_their_figures(call, tmp_path, tiny):
    said = call(PHOTOS / "coffee.jpg", "--out", tmp_path, "--frechet", f"{TINY}={tiny[1]}")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert "needs at least 2 images, but got 1: give" in metrics["not_measured"][f"frechet/{TINY}"]
    assert f"frechet/{TINY} not measured: A Frechet distance needs at least 2 images" in said and metrics["psnr"] > 0


def test_a_damaged_shard_and_a_file_that_the_disk_does_not_give_are_named_and_the_rest_is_measured(
    call, make_tar, tmp_path, monkeypatch
):
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(
        make_tar(tmp_path / "whole.tar", [("a.png", PHOTOS.joinpath("coffee.jpg").read_bytes())]).read_bytes()[:700]
    )
    gone = tmp_path / "go\x1bne.png"
    gone.write_bytes(PHOTOS.joinpath("chelsea.png").read_bytes())
    read = Entry.read

    def fail_for_one(entry):
        if entry.path == str(gone):
            raise OSError(errno.EIO, "Input/output error")
        return read(entry)

    monkeypatch.setattr(Entry, "read", fail_for_one)
    said = call(PHOTOS / "coffee.jpg", damaged, gone, "--out", tmp_path / "out", code=1)
    assert f"lost: {damaged} " in said and "lost: go\\x1bne.png cannot be read (Input/output error)" in said
    assert "PSNR" in said and "1 image" in said and "\x1b]" not in said and "\x1bne" not in said
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert facts["images"] == 1 and len(facts["lost"]) == 2
    assert f"Lost: {damaged}" in (tmp_path / "out" / "report.html").read_text()
    only = call(damaged, "--out", tmp_path / "none", code=1)
    assert f"evaluate-tokenizer: {damaged} " in only and not (tmp_path / "none").exists()


def test_json_is_one_line_with_the_facts_of_metrics_json(tokenizer_folder, tmp_path):
    result = CliRunner().invoke(app, [str(tokenizer_folder), str(PHOTOS), "--out", str(tmp_path), "--json"])
    facts = json.loads(result.stdout)
    assert result.exit_code == 0 and result.stdout.count("\n") == 1
    assert facts.pop("report") == str(tmp_path / "report.html")
    assert facts == json.loads((tmp_path / "metrics.json").read_text())
    assert result.stderr.startswith("lpips not measured: ")


def test_a_figure_without_a_finite_value_is_null_in_json(call, tmp_path, monkeypatch):
    monkeypatch.setattr("vistok.evaluation.quality.psnr", lambda a, b: torch.full((len(a),), math.inf))
    call(PHOTOS / "coffee.jpg", "--out", tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)["psnr"] is None


def test_without_a_network_it_is_said_at_once_what_is_missing(call, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("vistok.evaluation.reference_weights.is_reachable", asked.append)
    monkeypatch.setattr("vistok.evaluation.reference_weights._is_needed", lambda download: True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("build_perceptual", "load_inception"):
        monkeypatch.setattr(
            f"vistok.evaluation.reference_metrics.{name}", lambda *a, name=name: pytest.fail(f"{name} was tried")
        )
    said = call(PHOTOS / "coffee.jpg", "--out", tmp_path)
    assert said.startswith("lpips not measured: The weights of torchvision's vgg16 are not on this machine, and ")
    assert "download.pytorch.org cannot be reached: give their file as --lpips-weights.\n" in said
    assert "github.com cannot be reached: give their file as --inception-weights." in said
    assert said.index("rfid not measured") < said.index("PSNR") and said.count("not measured") == 2
    assert sorted(url.split("/")[2] for url in asked) == ["download.pytorch.org", "github.com"]
