"""Figures are means over images, whatever the batches they go through in."""

import numpy as np
import pytest
import torch
from torch import nn

import vistok
from samples import noise_image, small_tokenizer
from vistok.evaluation.frechet import FrechetMetric
from vistok.evaluation.metrics import psnr
from vistok.evaluation.quality import measure, round_to_uint8
from vistok.evaluation.reference_metrics import PerceptualMetric
from vistok.images.preprocessing import stack_pixels
from vistok.perception.distance import FeatureDistance
from vistok.tokenizer.numerics.exact import MAX_PIXELS, batch_for, exact_batch, in_batches

CPU = torch.device("cpu")
SIDES = [(16, 16)] * 5 + [(16, 24)] * 3 + [(16, 16)] * 2


@pytest.fixture
def images():
    return [stack_pixels([np.asarray(noise_image(w, h, n))]) for n, (w, h) in enumerate(SIDES)]


def test_batches_keep_order_and_shape(images):
    batches = list(in_batches(images, 4))
    assert [len(batch) for batch in batches] == [4, 1, 3, 2]
    rows = [row for batch in batches for row in batch.split(1)]
    assert all(torch.equal(row, image) for row, image in zip(rows, images, strict=True))
    assert list(in_batches([])) == []


def test_large_images_go_in_smaller_batches():
    assert batch_for(16, 256, 256) == 16 and batch_for(16, 1024, 1024) == 4 and batch_for(16, 9999, 9999) == 1
    assert batch_for(16, 1, MAX_PIXELS // 16 + 1) == 15
    assert [batch_for(128, side, side) for side in (128, 256, 512)] == [128, 128, 32]


def test_an_exact_batch_of_a_gpu_has_at_most_sixteen_images_and_a_million_pixels():
    assert [exact_batch(None, side, side) for side in (64, 256, 512, 1024, 2048)] == [16, 16, 4, 1, 1]
    assert [exact_batch(3, side, side) for side in (256, 2048)] == [3, 1]


def test_quality_is_that_of_the_images_one_by_one(images):
    model = small_tokenizer().eval()
    seen = []
    together = measure(model, in_batches(images), lambda a, b: seen.append((len(a), len(b))))
    alone = measure(model, iter(images))
    for name, value in together.quality._asdict().items():
        if name != "images_per_second":
            assert value == pytest.approx(getattr(alone.quality, name), abs=1e-5), name
    assert torch.equal(together.counts, alone.counts) and seen == [(5, 5), (3, 3), (2, 2)]
    with torch.no_grad():
        expected = [float(psnr(image, round_to_uint8(model(image).pixels))) for image in images]
    assert together.quality.psnr == pytest.approx(sum(expected) / len(expected), abs=1e-4)


def test_quality_counts_the_tokens_of_the_api(tokenizer_folder, images):
    tokenizer = vistok.load(tokenizer_folder, device="cpu")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        counts = measure(tokenizer.model, in_batches(images)).counts
    tokens = torch.cat([tokenizer.encode_pixels(image).flatten() for image in images])
    assert torch.equal(counts[0], tokens.bincount(minlength=300))


class Stages(nn.Module):
    def forward(self, pixels):
        return [pixels, torch.nn.functional.avg_pool2d(pixels, 2)]


@pytest.mark.parametrize("size", [2, 16])
def test_reference_metrics_do_not_depend_on_the_batches(images, size):
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())

    def figures(batches):
        metrics = PerceptualMetric(FeatureDistance(Stages()), CPU), FrechetMetric(pooled)
        for batch in batches:
            for metric in metrics:
                metric.update(batch, batch.flip(3) * 0.9)
        return [metric.compute() for metric in metrics]

    assert figures(in_batches(images, size)) == pytest.approx(figures(images), abs=1e-5)
