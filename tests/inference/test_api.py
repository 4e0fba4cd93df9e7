import io
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import vistok
from samples import PHOTOS, image_bytes, noise_image
from vistok.tokenizer.preprocessing import PreprocessingConfig


@pytest.fixture
def tokenizer(tokenizer_folder):
    return vistok.load(tokenizer_folder)


@pytest.fixture
def native(tokenizer):
    return tokenizer.with_preprocessing(PreprocessingConfig(size="native"))


def test_every_kind_of_image_gives_the_same_tokens(tokenizer, tmp_path):
    image = noise_image(64, 64)
    path = tmp_path / "image.png"
    image.save(path)
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    expected = tokenizer.encode(image)
    assert expected.shape == (1, 1, 8, 8) and expected.dtype == torch.int64
    for same in (path, str(path), array, tensor, tensor.unsqueeze(0), tensor.float() / 255, image.convert("RGBA")):
        assert torch.equal(tokenizer.encode(same), expected)
    assert torch.equal(tokenizer.encode([path, image, array, tensor]), expected.repeat(4, 1, 1, 1))


def test_a_list_equals_its_members(tokenizer):
    images = [noise_image(70, 90, seed) for seed in range(5)]
    assert torch.equal(tokenizer.encode(images), torch.cat([tokenizer.encode(image) for image in images]))


def test_decode_is_pil_or_tensor_of_the_same_image(tokenizer):
    tokens = tokenizer.encode([noise_image(64, 64, seed) for seed in range(3)])
    images = tokenizer.decode(tokens)
    tensor = tokenizer.decode(tokens, output="tensor")
    assert tensor.shape == (3, 3, 64, 64) and tensor.min() >= 0 and tensor.max() <= 1
    assert all(image.size == (64, 64) and image.mode == "RGB" for image in images)
    rounded = (tensor * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert all(np.array_equal(np.asarray(image), array) for image, array in zip(images, rounded, strict=True))


def test_what_is_decoded_is_what_the_model_saw(tokenizer):
    tokens = tokenizer.encode(noise_image(64, 64))
    latent = tokenizer.model.quantizer.lookup(tokens)
    expected = (tokenizer.model.decode_latent(latent).clamp(-1, 1) + 1) / 2
    assert torch.equal(tokenizer.decode(tokens, output="tensor"), expected)


@pytest.mark.parametrize("size", [(64, 64), (65, 40), (1, 1), (200, 9)])
def test_native_size_gives_the_promised_grid(native, size):
    width, height = size
    tokens = native.encode(noise_image(width, height))
    assert tuple(tokens.shape[2:]) == native.grid(height, width)


def test_facts_about_the_tokenizer(tokenizer, native):
    assert (tokenizer.vocab_size, tokenizer.num_codebooks, tokenizer.downsample) == (300, 1, 8)
    assert tokenizer.grid(500, 300) == (8, 8) and native.grid(500, 300) == (63, 38)
    assert len(tokenizer.fingerprint) == 64 and tokenizer.fingerprint != native.fingerprint
    assert repr(tokenizer).startswith("Tokenizer(vq, 1 x 300 codes, f8, ")


def test_built_in_model_is_loaded_by_name_and_by_default():
    assert vistok.load("photo-f8").fingerprint == vistok.load().fingerprint


def test_built_in_model_reconstructs_photos():
    tokenizer = vistok.load("photo-f8")
    assert tokenizer.downsample == 8 and tokenizer.vocab_size <= 2**16 and tokenizer.num_codebooks == 1
    photo = Image.open(PHOTOS / "coffee.jpg").resize((256, 256))
    tokens = tokenizer.encode(photo)
    assert tokens.shape == (1, 1, 32, 32)
    error = np.asarray(tokenizer.decode(tokens)[0], dtype=float) - np.asarray(photo, dtype=float)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 24


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([], r"encode got an empty list"),
        (3, r"encode got a value of type int, but takes a path, a PIL image"),
        ("nothing.png", r"nothing.png cannot be read \(No such file or directory\): give the path of an image"),
        (np.zeros((4, 4, 3)), r"encode got an array of float64 \(4, 4, 3\), but takes uint8 h w 3"),
        (np.zeros((4, 4), np.uint8), r"encode got an array of uint8 \(4, 4\), but takes uint8 h w 3"),
        (
            np.zeros((0, 4, 3), np.uint8),
            r"encode got an array of uint8 \(0, 4, 3\), but .* with at least one pixel: convert it",
        ),
        (torch.zeros(0, 3, 8, 8), r"encode got a tensor of shape \(0, 3, 8, 8\), but takes .* with at least one pixel"),
        (torch.zeros(3, 0, 8), r"encode got a tensor of shape \(3, 0, 8\), but takes .* with at least one pixel"),
        (Image.new("RGB", (0, 5)), r"encode got a PIL image that cannot be used: 0 x 5 has no pixels"),
        (torch.zeros(4, 4), r"encode got a tensor of shape \(4, 4\), but takes 3 h w or b 3 h w"),
        (torch.zeros(3, 8, 8, dtype=torch.int32), r"encode got a tensor of torch.int32, but takes uint8, or float"),
        (torch.full((3, 8, 8), 255.0), r"encode got a float tensor from 255 to 255, but takes \[0, 1\]: divide by 255"),
        (torch.full((3, 8, 8), -0.5), r"encode got a float tensor from -0.5 to -0.5, but takes \[0, 1\]"),
        (torch.full((3, 8, 8), torch.nan), r"encode got a float tensor from nan to nan, but takes \[0, 1\]"),
        (
            torch.zeros(3, 8, 8, device="meta"),
            r"^encode got a tensor on the meta device, .* no values: give one on the CPU",
        ),
        (
            torch.zeros(2, 3, 8, 8, dtype=torch.uint8, device="meta"),
            r"^encode got a tensor on the meta device, which has",
        ),
        (torch.zeros(3, 9, 8), r"takes b 3 h w with h and w multiples of 8: resize, crop or pad them"),
    ],
)
def test_wrong_images_are_one_sentence(tokenizer, image, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.encode(image)


def test_broken_files_are_one_sentence(tokenizer, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"broken.jpg cannot be used: not an image of a known format"):
        tokenizer.encode(tmp_path / "broken.jpg")


def test_what_is_no_file_is_one_sentence(tokenizer, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(
            ValueError,
            match=r"(fifo|zero) cannot be read \(is a (fifo|device), not a file\): give the path of an image",
        ):
            tokenizer.encode(path)
    with pytest.raises(ValueError, match=r"cannot be read \(Is a directory\)"):
        tokenizer.encode(tmp_path)


def test_truncated_pil_images_are_one_sentence(tokenizer):
    content = image_bytes(noise_image(64, 64), "JPEG")
    with pytest.raises(
        ValueError, match=r"encode got a PIL image that cannot be used: broken image: image file is trunc"
    ):
        tokenizer.encode(Image.open(io.BytesIO(content[: len(content) // 2])))


def test_images_handed_in_are_left_alone(tokenizer):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(image_bytes(noise_image(64, 48), "PNG", exif=exif)))
    tokenizer.encode(image)
    assert image.size == (64, 48) and image.getexif()[0x0112] == 6


def test_gradients_stay_outside_and_results_can_be_trained_on(tokenizer):
    tensor = torch.rand(1, 3, 64, 64, requires_grad=True)
    tokens = tokenizer.encode(tensor)
    decoded = tokenizer.decode(tokens, output="tensor")
    assert not tokens.is_inference() and not decoded.is_inference() and not decoded.requires_grad
    decoded.requires_grad_().square().sum().backward()
    assert decoded.grad.shape == decoded.shape
    assert torch.equal(tokenizer.decode(tokens.int(), output="tensor"), decoded)


def test_different_grids_do_not_stack(native):
    with pytest.raises(ValueError, match=r"different token grids \(\(1, 1\) and \(1, 2\)\): encode them one at a time"):
        native.encode([noise_image(8, 8), noise_image(16, 8)])


def test_wrong_tokens_are_one_sentence(tokenizer):
    with pytest.raises(ValueError, match=r"decode got output='png', but takes 'pil' or 'tensor'"):
        tokenizer.decode(torch.zeros(1, 1, 8, 8, dtype=torch.int64), output="png")
    with pytest.raises(ValueError, match=r"decode got a list, but takes a tensor or an array b q y x: use torch.stack"):
        tokenizer.decode([torch.zeros(1, 8, 8, dtype=torch.int64)])
    long = torch.zeros(1, 1, 8, 8).long()
    wrong = (long[0], long[:0], long.float(), long.bool(), long.cfloat(), long.numpy() * 1.0, long.numpy() > 0)
    for tokens in wrong:
        with pytest.raises(ValueError, match=r"decode got \S+ \(.*\), but takes integers b q y x, as encode returns"):
            tokenizer.decode(tokens)
    with pytest.raises(ValueError, match=r"its codes are 0 to 299"):
        tokenizer.decode(torch.full((1, 1, 8, 8), 300))
    with pytest.raises(
        ValueError, match=r"^decode got a tensor on the meta device, which has a shape but no values: give"
    ):
        tokenizer.decode(long.to("meta"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "photo-f9",
            r"There is no tokenizer 'photo-f9': did you mean 'photo-f8'\? Otherwise give a built-in name",
        ),
        ("", r"load got an empty name: give a built-in or public name, a tokenizer folder, or hf://owner/repo"),
        ("hf://no such name/x", r"hf://no such name/x is no name of the hub"),
    ],
)
def test_wrong_names_are_one_sentence(name, message):
    with pytest.raises(ValueError, match=message):
        vistok.load(name)


def test_wrong_device_is_one_sentence(tokenizer_folder):
    for device in ("warp", "meta", torch.device("meta")):
        with pytest.raises(
            ValueError, match=r"^Device '(warp|meta)' cannot be used on this machine: use cpu[a-z, ]*\.$"
        ):
            vistok.load(tokenizer_folder, device=device)


def test_importing_vistok_imports_no_trainer():
    code = "import sys, vistok; print([m for m in ('accelerate', 'timm', 'torchmetrics', 'tensorboard') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("value", [float("nan"), 3e38])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_values_that_are_nan_or_infinite_are_neither_tokens_nor_images(tokenizer, part, value):
    image = noise_image(64, 64)
    tokens = tokenizer.encode(image)
    with torch.no_grad():
        next(getattr(tokenizer.model, part).parameters()).fill_(value)
    with pytest.raises(ValueError, match=f"The {part}'s output is NaN or infinite: "):
        tokenizer.encode(image)
        tokenizer.decode(tokens)


def test_pixels_of_any_float_are_encoded_and_others_are_one_sentence(tokenizer):
    pixels = torch.randint(-8, 9, (2, 3, 16, 24)) / 8
    tokens = tokenizer.encode_pixels(pixels)
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert torch.equal(tokenizer.encode_pixels(pixels.to(dtype)), tokens)
    for wrong in (pixels[0], pixels[:0], pixels.byte(), pixels.numpy(), [pixels]):
        with pytest.raises(
            ValueError, match=r"encode_pixels got .*, but takes a float tensor b c h w in \[-1, 1\]: convert it"
        ):
            tokenizer.encode_pixels(wrong)
    with pytest.raises(
        ValueError, match="^encode_pixels got a tensor on the meta device, which has a shape but no values"
    ):
        tokenizer.encode_pixels(pixels.to("meta"))
    with pytest.raises(ValueError, match="NaN or infinite: load other weights, or give other pixels"):
        tokenizer.encode_pixels(pixels * float("nan"))


def test_a_path_with_a_zero_byte_is_one_sentence(tokenizer):
    with pytest.raises(ValueError, match=r"^'a\\x00b' cannot be read \(.*null byte\): give the path of an image\.$"):
        tokenizer.encode("a\0b")


def test_what_is_no_size_no_path_and_no_name_is_one_sentence(tokenizer):
    with pytest.raises(
        ValueError, match="grid got -1 x 5 pixels, but an image has at least 1 x 1: give its height and"
    ):
        tokenizer.grid(-1, 5)
    with pytest.raises(ValueError, match="encode got an empty path: give the path of an image"):
        tokenizer.encode("")
    for name in ("a" * 3000, "a\0b"):
        with pytest.raises(ValueError, match="There is no tokenizer 'a"):
            vistok.load(name)
    with pytest.raises(ValueError, match=r"Device 'torch.float16' cannot be used on this machine"):
        tokenizer.to(torch.float16)
