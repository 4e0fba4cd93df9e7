"""Validation takes images in batches, and is a mean over images."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from samples import noise_image, small_tokenizer
from vistok.images.preprocessing import to_pixels
from vistok.tokenizer.metrics import psnr
from vistok.train.validate import validate


def test_validation_is_the_mean_over_single_images_whatever_the_caller_set():
    model = small_tokenizer().train()
    sides = [(16, 16)] * 18 + [(24, 16)] * 2
    images = [torch.from_numpy(np.array(noise_image(*side, seed))) for seed, side in enumerate(sides)]
    with torch.no_grad():
        pixels = [to_pixels(image.unsqueeze(0)) for image in images]
        expected = np.mean([float(psnr(one, model.eval()(one).pixels)) for one in pixels])
    seen = []
    handle = model.encoder.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = validate(model, images, Accelerator(cpu=True))
    handle.remove()
    assert found["validation/psnr"] == pytest.approx(expected, abs=1e-5) and found["validation/pictures"] == 20
    assert seen == [16, 2, 2] and model.training
