"""The plain and the new decoder on the same images: their figures, the card, and the network that judges them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import vistok
from runs import finetune
from samples import noise_image
from vistok.evaluation.decoder_quality import BANDS
from vistok.evaluation.spectrum import power_kept, radial_power, spectrum_error
from vistok.images.preprocessing import load_pixels
from vistok.inference.commands.evaluate_tokenizer import app as evaluate_app
from vistok.perception.distance import PerceptualConfig, build_perceptual
from vistok.tokenizer.config import parse_config
from vistok.train.finetune import compare_decoders
from vistok.train.finetune.decoder_config import GenerativeConfig
from vistok.train.finetune.decoder_judge import build_judge, check_measurable

FLOW = ["--decoder", "generative", "--recipe", "flow", "--set", "generative.flow={steps: 2, lr: 0.1}"]
FLOW += ["--set", "generative.network={channels: [8, 12], blocks: 1, time_channels: 8}", "--set", "data.batch_size=4"]
NO_JUDGE = (
    "perceptual distance was not measured. No network judges the decoders: give one that no loss uses, as --set "
    "'generative.judge={backbone: NAME, weights: FILE}', and call again."
)


@pytest.fixture(scope="module")
def weights(perceptual):
    return Path(re.search("weights: (.+)}", perceptual[1])[1])


@pytest.fixture(scope="module")
def unseen(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unseen")
    for path in sorted(photos.iterdir())[:2]:
        shutil.copy(path, folder)
    noise_image(24, 30).resize((96, 120)).save(folder / "wide.png")
    return folder


@pytest.fixture(scope="module")
def judged(fsq_folder, photos, unseen, weights, offline, tmp_path_factory):
    """A folder, and what was said by a call without a judge and by one with it."""
    folder = tmp_path_factory.mktemp("judged")
    judge = ["--set", f"generative.judge={{backbone: test_resnet, weights: {weights}}}"]
    with pytest.MonkeyPatch.context() as patch:
        offline(patch)
        before = finetune(fsq_folder, photos, folder, *FLOW, "--val", unseen)
        return folder, before, finetune(fsq_folder, photos, folder, *FLOW, "--val", unseen, *judge)


@pytest.mark.parametrize("name", ["plain", "generative"])
def test_figures_are_those_of_the_images_that_the_tokenizer_decodes(judged, unseen, weights, name):
    figures = json.loads((judged[0] / "metrics.json").read_text())["decoders"][name]
    tokenizer = vistok.load(judged[0] / "export", device="cpu")
    paths = sorted(unseen.iterdir())
    tokens = tokenizer.encode(paths)
    originals, *samples = (
        np.stack([np.asarray(image, np.float64) for image in images])
        for images in (
            [preprocessed(tokenizer, path) for path in paths],
            *(tokenizer.decode(tokens, decoder=name, seed=seed) for seed in (0, 1)),
        )
    )
    errors = [((originals - each) ** 2).mean(axis=(1, 2, 3)) for each in samples]
    assert figures["images"] == 3
    assert figures["psnr"] == pytest.approx(np.mean(10 * np.log10(255**2 / errors[0])), abs=1e-4)
    variance = ((samples[0] - samples[1]) ** 2).mean() / 2
    assert figures["seed_spread"] == pytest.approx(2 * variance / np.mean(errors), rel=1e-6)
    assert (figures["seed_spread"] > 1e-4) == (name == "generative")
    pixels, decoded = (
        torch.from_numpy(each).float().permute(0, 3, 1, 2) / 127.5 - 1 for each in (originals, samples[0])
    )
    distance = build_perceptual(PerceptualConfig(backbone="test_resnet", weights=weights))(pixels, decoded)
    assert figures["perceptual"] == pytest.approx(float(distance.mean()), rel=1e-4)
    theirs, ours = radial_power(pixels), radial_power(decoded)
    assert [figures[band] for band in BANDS] == pytest.approx(power_kept(theirs.bands, ours.bands), rel=1e-4)
    assert figures["spectrum_error"] == pytest.approx(float(spectrum_error(theirs.rings, ours.rings).mean()), rel=1e-4)
    again = tokenizer.encode_pixels(decoded)
    assert figures["agreement"] == pytest.approx(float((again == tokens).float().mean())) and figures["agreement"] < 1


def preprocessed(tokenizer, path):
    with path.open("rb") as file:
        return load_pixels(file, tokenizer.config.preprocessing, tokenizer.downsample).pixels


@pytest.mark.parametrize("name", ["plain", "generative"])
def test_psnr_on_the_card_is_that_of_evaluate_tokenizer(judged, unseen, tmp_path, name):
    model = judged[0] / "export"
    arguments = [str(model), str(unseen), "--decoder", name, "--out", str(tmp_path / "out"), "--device", "cpu"]
    result = CliRunner().invoke(evaluate_app, arguments)
    assert result.exit_code == 0, result.output + result.stderr
    card = vistok.load(model).decoders[name]
    printed = re.search(r"PSNR +\S? *(-?[\d.]+ dB)", result.output)[1]
    assert f"PSNR {printed}, " in str(card)
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [card.figures[key] for key in ("psnr", "ssim")] == pytest.approx([found["psnr"], found["ssim"]], rel=1e-6)


def test_the_card_has_all_figures_and_says_what_judged(judged, unseen, weights):
    folder, _, said = judged
    metrics = json.loads((folder / "metrics.json").read_text())
    judge = f"images of {unseen.name}; perceptual distance over test_resnet ({weights.name})"
    decoders = vistok.load(folder / "export").decoders
    for name, info in decoders.items():
        measured = metrics["decoders"][name]
        assert info.figures == {key: measured[key] for key in measured if key not in ("images", "milliseconds")}
        assert info.milliseconds == measured["milliseconds"] > 0
        assert (info.images, info.judge) == (3, judge) and metrics["judge"] == judge
    text = str(decoders["generative"])
    assert (
        text.endswith(f", on 3 images ({judge})")
        and "perceptual distance 0." in text
        and "milliseconds per image" in text
    )
    page = (folder / "report.html").read_text()
    rows = ("perceptual distance", *(f"power kept, {band}" for band in ("1/8 to 1/4 of Nyquist", "1/4 to 1/2")))
    rows += (
        "power kept, 1/2 to 3/4",
        "power kept, 3/4 to 1",
        "tokens equal after re-encoding",
        "milliseconds per image",
    )
    for row in (*rows, "spread over seeds (1: as the images)", "error of the spectrum"):
        assert row in page, row
        assert row in said, row
    for name in ("plain", "generative"):
        assert f"{metrics['decoders'][name]['perceptual']:.4f}" in said


def test_a_judge_may_come_later_and_without_one_a_note_says_so(judged, fsq_folder, photos):
    folder, before, said = judged
    assert NO_JUDGE in before and "perceptual distance │" not in before
    assert "stage flow" in before and "stage flow" not in said and NO_JUDGE not in said
    assert list(json.loads((folder / "metrics.json").read_text())["not_measured"]) == ["lpips", "rfid"]


def test_both_are_timed_in_turns_as_the_tokenizer_decodes(judged, fsq_folder, photos, unseen, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(compare_decoders, "decode_milliseconds", lambda *given: seen.append(given) or [5.0, 7.5])
    late = Path(shutil.copytree(judged[0], tmp_path / "late"))
    (late / "finetune.yaml").write_text((late / "finetune.yaml").read_text().replace(str(judged[0]), str(late)))
    finetune(fsq_folder, photos, late, *FLOW, "--val", unseen)
    tokenizer = vistok.load(late / "export", device="cpu")
    times = {name: info.milliseconds for name, info in tokenizer.decoders.items()}
    assert times == {"plain": 5.0, "generative": 7.5}
    ((decoders, tokens),) = seen
    assert torch.equal(tokens, tokenizer.encode(sorted(unseen.iterdir())[0]))
    for name, decode in zip(times, decoders, strict=True):
        expected = tokenizer.decode(tokens, "tensor", decoder=name, seed=3)
        assert torch.equal((decode(tokens, 3) + 1) / 2, expected)


def generative(weights, **sections):
    network = {"backbone": "test_resnet", "weights": weights}
    return parse_config(GenerativeConfig, {"perceptual": network, "judge": network, **sections})


def test_a_network_that_a_loss_uses_is_no_judge(weights, tmp_path):
    message = (
        f"generative.judge is test_resnet ({weights.name}), the network that generative.perceptual trains with, which would "
        "flatter the new decoder: give a network that no loss uses."
    )
    copy = Path(shutil.copy(weights, tmp_path / weights.name))
    for judge in (weights, copy):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            build_judge(generative(weights, judge={"backbone": "test_resnet", "weights": judge}))
    assert build_judge(generative(weights, recipe="flow")) is not None
    assert build_judge(generative(weights, distill={"steps": 1, "lr": 0.1, "losses": {"distillation": 1.0}}))
    assert build_judge(generative(weights, judge=None)) is None


def test_nor_is_the_network_of_a_discriminator(weights):
    through = {"name": "backbone", "backbone": {"name": "test_resnet", "weights": weights}}
    sections = {"perceptual": None, "adversarial": {"discriminator": through}}
    with pytest.raises(ValueError, match="the network that generative.adversarial trains with, which would flatter"):
        build_judge(generative(weights, recipe="gan", **sections))
    assert build_judge(generative(weights, recipe="distill", **sections))


def test_it_is_refused_before_training(weights, fsq_folder, photos, tmp_path):
    network = f"{{backbone: test_resnet, weights: {weights}}}"
    options = ["--set", f"generative.perceptual={network}", "--set", f"generative.judge={network}"]
    said = finetune(fsq_folder, photos, tmp_path, "--decoder", "generative", *options, code=2)
    assert "the network that generative.perceptual trains with" in said and "training the decoder" not in said


def test_images_that_are_too_small_are_refused_before_training(weights):
    judged = generative(weights, recipe="flow")
    with pytest.raises(
        ValueError, match="Images of 16 x 16 are too small for test_resnet, which needs at least 32 x 32"
    ):
        check_measurable(judged, 16)
    with pytest.raises(ValueError, match="A spectrum of 8 x 8 pixels has empty bands: give images of at least 16 x 16"):
        check_measurable(judged.model_copy(update={"judge": None}), 8)
    for side in (32, None):
        check_measurable(judged, side)
