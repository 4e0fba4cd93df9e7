"""Several tokenizers on the same images: equal to each alone, and to figures derived from images and tokens."""

import json
import math
import weakref

import numpy as np
import pytest
from PIL import Image

import vistok
from compared_tokenizers import NO_DECODER, RESIDUAL, WITHOUT_DECODER, save, with_preprocessing
from samples import PHOTOS
from vistok.evaluation.reference_metrics import ReferenceMetrics
from vistok.evaluation.rows import ROWS
from vistok.images.preprocessing import preprocess
from vistok.inference.evaluate import compare as compare_module
from vistok.inference.evaluate import evaluation as evaluation_module
from vistok.inference.evaluate.common_crop import CommonCrop
from vistok.inference.inputs.reading import Unusable
from vistok.inference.inputs.samples import Failure
from vistok.tokenizer.model import VisualTokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

COMMON = PreprocessingConfig(size=48)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """One of a native size, one with another crop and two codebooks, one without a decoder."""
    folder = tmp_path_factory.mktemp("tokenizers")
    return [
        save(folder / "native", size="native"),
        save(folder / "residual", RESIDUAL, size=48, resampling="box", background=(0, 0, 0)),
        save(folder / "encoder", architecture=WITHOUT_DECODER, size=64),
    ]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three images, two of them not square, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    for index, path in enumerate(sorted(PHOTOS.glob("*.jpg"))[:3]):
        Image.open(path).resize((72 + 16 * index, 72)).save(folder / f"{path.stem}.png")
    (folder / "broken.png").write_bytes(b"")
    return folder


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)


@pytest.fixture
def compared(tokenizers, photos, evaluate_several, tmp_path):
    said = evaluate_several(*tokenizers, photos, "--out", tmp_path / "out", "--quiet")
    return said, metrics(tmp_path / "out"), (tmp_path / "out" / "report.html").read_text()


def without_time(figures):
    return {name: figures[name] for name in ROWS if name in figures and name != "images_per_second"}


def test_each_is_measured_as_if_it_were_alone(compared, tokenizers, photos, evaluate_several, tmp_path):
    _, facts, _ = compared
    assert facts["images"] == 3 and facts["common_crop"]["preprocessing"] == COMMON.model_dump(mode="json")
    for folder, each in zip(tokenizers, facts["models"], strict=True):
        cropped = with_preprocessing(folder, tmp_path / f"{folder.name}-cropped", size=48)
        for crop, alone in (("own_crop", folder), ("common_crop", cropped)):
            evaluate_several(alone, photos, "--out", tmp_path / f"{alone.name}-alone", "--quiet")
            single = metrics(tmp_path / f"{alone.name}-alone")
            assert without_time(each[crop]) == without_time(single) | {
                name: each[crop][name] for name in ("even_usage", "tokens_per_image")
            }
            assert each[crop]["preprocessing"] == single["preprocessing"] and each[crop]["images_per_second"] > 0
            assert each[crop]["not_measured"] == single["not_measured"]
            assert facts["failures"] == single["failures"]
        assert each["model"] == str(folder) and each["name"] == folder.name
        assert each["fingerprint"] == vistok.load(folder).fingerprint


@pytest.mark.parametrize("crop", ["own_crop", "common_crop"])
def test_the_figures_are_those_of_the_images_and_tokens_of_the_api(compared, tokenizers, photos, crop):
    _, facts, _ = compared
    for folder, each in zip(tokenizers, facts["models"], strict=True):
        tokenizer, got = vistok.load(folder), each[crop]
        codes, books = tokenizer.vocab_size, tokenizer.num_codebooks
        own = tokenizer.config.preprocessing if crop == "own_crop" else COMMON
        tokens, decibels, pixels = [], [], 0
        for path in sorted(photos.glob("[!b]*.png")):
            image = preprocess(Image.open(path), own, 8)
            encoded = tokenizer.with_preprocessing(own).encode(Image.fromarray(image))
            pixels += image[..., 0].size
            tokens.append(encoded[0].reshape(books, -1).numpy())
            if tokenizer.model.has_decoder:
                error = np.asarray(tokenizer.decode(encoded)[0]).astype(float) - image
                decibels.append(10 * math.log10(255**2 / (error**2).mean()))
        counts = np.stack([np.bincount(level, minlength=codes) for level in np.concatenate(tokens, axis=1)])
        frequencies = counts / counts.sum(axis=1, keepdims=True)
        entropies = -(frequencies * np.log(np.where(counts, frequencies, 1))).sum(axis=1)
        assert got["psnr"] == (pytest.approx(np.mean(decibels), abs=1e-4) if decibels else None)
        assert got["usage"] == pytest.approx((counts > 0).mean())
        assert got["perplexity"] == pytest.approx(np.exp(entropies).mean())
        assert got["even_usage"] == pytest.approx(1 - (1 - 1 / codes) ** int(counts[0].sum()))
        assert got["tokens"] == counts[0].sum() and got["tokens_per_image"] == pytest.approx(counts.sum() / 3)
        assert got["bits_per_pixel"] == pytest.approx(counts.sum() * math.log2(codes) / pixels)


def test_only_one_tokenizer_is_in_memory_and_a_crop_that_is_its_own_is_measured_once(
    tokenizers, photos, evaluate_several, tmp_path, monkeypatch
):
    alive, passes = weakref.WeakSet(), []
    build, evaluate = VisualTokenizer.__init__, compare_module.evaluate

    def counted(model, *arguments, **options):
        assert not [each for each in alive if not next(each.parameters()).is_meta]
        build(model, *arguments, **options)
        alive.add(model)

    def observed(model, tokenizer, *arguments):
        passes.append((model.rpartition("/")[2], tokenizer.config.preprocessing.size))
        return evaluate(model, tokenizer, *arguments)

    same = with_preprocessing(tokenizers[0], tmp_path / "same", size=48)
    monkeypatch.setattr(VisualTokenizer, "__init__", counted)
    monkeypatch.setattr(compare_module, "evaluate", observed)
    evaluate_several(*tokenizers, same, photos, "--out", tmp_path / "out")
    both = [(name, size) for name, own in (("residual", 48), ("encoder", 64)) for size in (own, 48)]
    assert passes == [("native", "native"), ("native", 48), *both, ("same", 48)]
    assert not alive


def test_a_tokenizer_that_cannot_be_loaded_is_said_before_any_work(
    tokenizers, photos, evaluate_several, tmp_path, monkeypatch
):
    damaged = with_preprocessing(tokenizers[0], tmp_path / "damaged", size=64)
    (damaged / "model.safetensors").write_bytes(b"cut")
    monkeypatch.setattr(compare_module, "evaluate", lambda *_: pytest.fail("work has begun"))
    said = evaluate_several(*tokenizers, damaged, photos, "--out", tmp_path / "out", code=2)
    assert f"evaluate-tokenizer: {damaged}/model.safetensors is damaged" in said
    assert not (tmp_path / "out").exists()
    said = evaluate_several(tokenizers[0], "hf://owner", photos, "--out", tmp_path / "out", code=2)
    assert "hf://owner" in said


def test_figures_of_other_images_are_not_compared(tokenizers, photos, evaluate_several, tmp_path, monkeypatch):
    read = evaluation_module.read_image

    def fail_when_native(sample, config, *others):
        if config.size == "native" and sample.key.startswith("coffee"):
            return Unusable(Failure(sample.key, sample.source, "it is too large"), "")
        return read(sample, config, *others)

    monkeypatch.setattr(evaluation_module, "read_image", fail_when_native)
    said = evaluate_several(*tokenizers[:2], photos, "--out", tmp_path / "out", code=1)
    assert "coffee.png could be used on one crop with native, but not on all, so their figures cannot" in said


def test_without_a_common_crop_that_is_said(tokenizers, photos, evaluate_several, tmp_path, monkeypatch):
    none = CommonCrop(None, "There is no common crop: a takes 1 x 1 pixels alone, b takes 2 x 2 pixels alone.")
    monkeypatch.setattr(compare_module, "common_crop", lambda configs: none)
    said = evaluate_several(*tokenizers[:2], photos, "--out", tmp_path, "--quiet")
    facts, page = metrics(tmp_path), (tmp_path / "report.html").read_text()
    assert none.sentence in said and none.sentence in page and "\u2502 common crop" not in said
    assert facts["common_crop"] == {"preprocessing": None, "choice": none.sentence}
    assert [each["common_crop"] for each in facts["models"]] == [None, None]
    assert page.count('<figure class="compare') == 6, "each beside its own crop"


def test_no_decoder_is_said(compared):
    said, facts, page = compared
    assert f"encoder: psnr, ssim, lpips, rfid not measured: {NO_DECODER}" in said
    assert f"encoder: PSNR, SSIM, LPIPS (VGG), rFID (Inception) were not measured. {NO_DECODER}" in page
    encoder = facts["models"][2]["common_crop"]
    assert encoder["psnr"] is None and encoder["usage"] > 0
    assert encoder["not_measured"] == dict.fromkeys(("psnr", "ssim", "lpips", "rfid"), NO_DECODER)


def test_what_is_measured_nowhere_has_no_row_and_is_said_once_before_the_table(
    tokenizers, photos, evaluate_several, tmp_path, monkeypatch
):
    reasons = {"lpips": "No LPIPS here.", "rfid": "No Inception here."}
    monkeypatch.setattr(
        "vistok.evaluation.reference_metrics.build_reference_metrics", lambda *a: ReferenceMetrics({}, reasons)
    )
    for models in (tokenizers[:1], tokenizers[:2]):
        said = evaluate_several(*models, photos, "--out", tmp_path, "--quiet")
        assert said.startswith("lpips not measured: No LPIPS here.\nrfid not measured: No Inception here.\n")
        assert said.count("not measured") == 2 and "LPIPS (VGG)" not in said and "rFID" not in said
        page = (tmp_path / "report.html").read_text()
        assert page.count("LPIPS (VGG)") == page.count("rFID (Inception)") == 1  # in the note


class MeanError:
    """Stands for LPIPS: a metric that accumulates."""

    def __init__(self):
        self.errors = []

    def update(self, original, reconstruction):
        self.errors += (original - reconstruction).abs().mean(dim=(1, 2, 3)).tolist()

    def compute(self):
        return float(np.mean(self.errors))


def test_reference_metrics_are_measured_anew_on_each_crop(tokenizers, photos, evaluate_several, tmp_path, monkeypatch):
    def build(*_):
        return ReferenceMetrics({"lpips": MeanError()}, {})

    monkeypatch.setattr("vistok.evaluation.reference_metrics.build_reference_metrics", build)
    said = evaluate_several(*tokenizers, photos, "--out", tmp_path / "out", "--quiet")
    first, second, encoder = metrics(tmp_path / "out")["models"]
    for folder, each in ((tokenizers[0], first), (tokenizers[1], second)):
        evaluate_several(folder, photos, "--out", tmp_path / folder.name, "--quiet")
        assert each["own_crop"]["lpips"] == metrics(tmp_path / folder.name)["lpips"] != each["common_crop"]["lpips"]
    assert "lpips" not in encoder["own_crop"] and encoder["own_crop"]["not_measured"]["lpips"] == NO_DECODER
    assert said.count("LPIPS (VGG)") == 2 and f"{second['common_crop']['lpips']:.4f}" in said
    best = min(each["common_crop"]["lpips"] for each in (first, second))
    assert f"<b>{best:.4f}</b>" in (tmp_path / "out" / "report.html").read_text()
