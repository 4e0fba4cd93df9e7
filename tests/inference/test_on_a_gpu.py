"""What encoding on a GPU promises; skipped where there is none."""

import warnings

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image

import vistok
from shard_files import image_jobs
from vistok.images.preprocessing import to_pixels
from vistok.inference.arithmetic import agreement, as_pixels
from vistok.inference.batch_probe import SIZES, probed_batch
from vistok.inference.detokenize.stream import Tally, save_images
from vistok.inference.fast import FastEncoder, fast_precision
from vistok.tokenizer.preprocessing import PreprocessingConfig

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(256, (70, 64, 64, 3), dtype=torch.uint8, generator=GENERATOR)


@pytest.fixture(scope="module")
def tokenizer():
    return vistok.load("photo-f8", device="cuda")


def test_bytes_become_the_same_pixels_as_on_a_cpu(tokenizer):
    every = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 16, 16, 3)
    assert torch.equal(as_pixels(every.to(tokenizer.device)).cpu(), to_pixels(every))


def test_an_image_has_one_answer_whatever_its_neighbours_and_its_form(tokenizer):
    tensors = rearrange(IMAGES, "b h w c -> b c h w")
    together = tokenizer.encode(tensors)
    assert together.device == tokenizer.device
    arrays = [image.numpy() for image in IMAGES]
    pixels = tokenizer.with_preprocessing(tokenizer.config.preprocessing.model_copy(update={"size": "native"}))
    alone = torch.cat([pixels.encode(array) for array in arrays[:5]])
    assert torch.equal(together[:5], alone) and torch.equal(pixels.encode(arrays), together)
    floats = torch.cat([tokenizer.encode_pixels(image) for image in to_pixels(IMAGES[:5]).split(1)])
    assert torch.equal(floats, alone.cpu())
    assert torch.equal(tokenizer.encode(tensors.cuda()), together)


def test_decoded_images_are_those_of_each_alone(tokenizer):
    tokens = tokenizer.encode(rearrange(IMAGES, "b h w c -> b c h w"))
    decoded = tokenizer.decode(tokens, output="tensor")
    alone = torch.cat([tokenizer.decode(each, output="tensor") for each in tokens[:4].split(1)])
    assert torch.equal(decoded[:4], alone)
    shown = torch.stack([torch.from_numpy(np.array(image)) for image in tokenizer.decode(tokens.cpu())])
    rounded = rearrange((decoded.cpu() * 255).round().int(), "b c h w -> b h w c")
    assert (shown.int() - rounded).abs().max() <= 1


def test_images_of_shards_are_those_of_the_api_whatever_the_batch(tokenizer, tmp_path):
    native = tokenizer.with_preprocessing(PreprocessingConfig(size="native"))
    tokens = tokenizer.encode(rearrange(IMAGES, "b h w c -> b c h w")).cpu()
    decoded = [np.array(image) for image in tokenizer.decode(tokens)]
    for size in (None, 1, 20):
        folder = tmp_path / str(size)
        save_images(image_jobs(native, tokens.numpy(), folder), size, tally := Tally(lambda _: None), "cuda")
        assert tally.written == len(tokens)
        for index, image in enumerate(decoded):
            assert np.array_equal(np.array(Image.open(folder / f"{index}.png")), image)


@pytest.mark.parametrize("compiled", [False, True])
def test_fast_tokens_come_in_order_at_every_size_without_a_warning(tokenizer, compiled):
    device = tokenizer.device
    fast = FastEncoder(tokenizer.model, device, fast_precision(device, compiled, 32))
    batches = [IMAGES[:40], IMAGES[:3], IMAGES[:8, :32], IMAGES]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = [fast(batch) for batch in batches]
        begun = [fast.start(batch) for batch in batches]
        assert all(torch.equal(finish(), tokens) for finish, tokens in zip(begun, expected, strict=True))
    assert torch.equal(expected[0], expected[3][:40]) and torch.equal(expected[1], expected[3][:3])
    assert agreement(tokenizer.encode_pixels, fast, list(to_pixels(IMAGES[:8]).split(1))) > 0.9


def test_a_batch_size_is_found_in_seconds(tokenizer):
    assert probed_batch(tokenizer.model, tokenizer.device, 64) in SIZES
