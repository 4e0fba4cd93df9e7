"""Decoding with an extra decoder: a pure function of tokens and seed, whatever is around."""

import copy
import json
import pickle
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

import vistok
from decoder_cases import SMALL, saved_folder, some_tokens
from hub_server import TOKEN
from processes import run_python
from vistok.tokenizer.preprocessing import PreprocessingConfig

NAME = "generative"


@pytest.fixture(scope="module", params=SMALL)
def folder(request, tmp_path_factory):
    return saved_folder(tmp_path_factory.mktemp("decoders") / "a", kind=request.param)


@pytest.fixture(scope="module")
def unet_folder(tmp_path_factory):
    return saved_folder(tmp_path_factory.mktemp("decoders") / "a", "codebooks", steps=2)


def decoded(tokenizer, tokens, seed=0, output="tensor"):
    return tokenizer.decode(tokens, output, decoder=NAME, seed=seed)


def test_it_is_the_answer_of_the_model_in_the_range_of_images(folder):
    tokenizer = vistok.load(folder, device="cpu")
    tokens = some_tokens(tokenizer.model, (3, 5))
    pixels = tokenizer.model.decode_latent(tokenizer.model.quantizer.lookup(tokens), NAME, 7).clamp(-1, 1)
    found = decoded(tokenizer, tokens, 7)
    torch.testing.assert_close(found, (pixels + 1) / 2, atol=1e-5, rtol=1e-5)
    (image,) = decoded(tokenizer, tokens, 7, "pil")
    assert np.abs(np.asarray(image) - 255 * found[0].permute(1, 2, 0).numpy()).max() <= 0.5 + 1e-3
    assert not torch.equal(found, decoded(tokenizer, tokens, 8))
    assert not torch.equal(found, tokenizer.decode(tokens, output="tensor"))


def test_plain_decoding_is_what_it_was(folder, tmp_path):
    tokenizer = vistok.load(folder, device="cpu")
    tokens = some_tokens(tokenizer.model, (2, 2))
    before = tokenizer.decode(tokens, output="tensor")
    assert torch.equal(before, tokenizer.decode(tokens, output="tensor", decoder="plain", seed=5))
    fingerprint = tokenizer.fingerprint
    tokenizer.model.decoders.clear()
    assert tokenizer.fingerprint == fingerprint and torch.equal(tokenizer.decode(tokens, output="tensor"), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_batch_is_its_images_one_by_one_in_any_thread(folder, dtype):
    tokenizer = vistok.load(folder, device="cpu", dtype=dtype)
    tokens = some_tokens(tokenizer.model, (3, 2), count=3)
    together = decoded(tokenizer, tokens, 3)
    alone = torch.cat([decoded(tokenizer, tokens[index : index + 1], 3) for index in range(3)])
    assert torch.equal(together, alone) and together.dtype == torch.float32
    with ThreadPoolExecutor(3) as pool:
        assert all(torch.equal(together, each) for each in pool.map(lambda _: decoded(tokenizer, tokens, 3), range(3)))
    again = torch.cat([tokens, tokens[:1]])
    assert torch.equal(decoded(tokenizer, again, 3)[3], together[0])


IN_A_NEW_PROCESS = """
import pickle, sys, torch
with open(sys.argv[1], "rb") as file:
    tokenizer, tokens = pickle.load(file)
torch.set_num_threads(1)
print(tokenizer.decode(tokens, "tensor", decoder="generative", seed=11).numpy().tobytes().hex())
"""


def test_other_processes_copies_and_settings_give_the_same_bits(unet_folder, tmp_path):
    tokenizer = vistok.load(unet_folder, device="cpu")
    tokens = some_tokens(tokenizer.model, (2, 3))
    expected = decoded(tokenizer, tokens, 11)
    for other in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer)), tokenizer.to("cpu")):
        assert torch.equal(decoded(other, tokens, 11), expected)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        assert torch.equal(decoded(tokenizer, tokens, 11), expected)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(decoded(tokenizer, tokens, 11), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), state)
    (tmp_path / "given").write_bytes(pickle.dumps((tokenizer, tokens)))
    done = run_python("-c", IN_A_NEW_PROCESS, str(tmp_path / "given"))
    assert done.stdout.strip() == expected.numpy().tobytes().hex(), done.stderr


def test_decoders_are_listed_with_what_was_measured(unet_folder, tmp_path):
    found = vistok.load(unet_folder, device="cpu").decoders
    assert list(found) == ["plain", NAME]
    assert found["plain"].figures == {"psnr": 21.0} and found["plain"].milliseconds is None
    extra = found[NAME]
    assert (extra.figures, extra.milliseconds, extra.images, extra.judge) == ({"psnr": 20.0}, 3.0, 2, "noise")
    assert extra.steps == 2 and extra.error == ""
    assert str(extra) == "PSNR 20.00 dB, milliseconds per image 3.0, on 2 images (noise)"
    assert str(found["plain"]) == "PSNR 21.00 dB, on 2 images (noise)"
    assert str(extra._replace(figures={}, milliseconds=None)) == "not measured"
    assert str(extra._replace(error="It is damaged.")) == "It is damaged."
    assert next(iter(vistok.load("photo-f8", device="cpu").decoders)) == "plain"


def test_a_decoder_called_plain_hides_nothing_of_the_plain_one(unet_folder, tmp_path):
    folder = shutil.copytree(unet_folder, tmp_path / "a")
    shutil.copytree(folder / "decoders" / NAME, folder / "decoders" / "plain")
    found = vistok.load(folder, device="cpu").decoders
    assert list(found) == ["plain", NAME] and found["plain"].figures == {"psnr": 21.0} and not found["plain"].error


def test_wrong_calls_are_one_sentence(unet_folder):
    tokenizer = vistok.load(unet_folder, device="cpu")
    tokens = some_tokens(tokenizer.model)
    with pytest.raises(ValueError, match=r"^decoder is 'fancy', but this tokenizer has plain, generative: give one"):
        tokenizer.decode(tokens, decoder="fancy")
    with pytest.raises(
        ValueError, match=r"^decoder is \['generative'\], but must be a name: give one of tok.decoders[.]$"
    ):
        tokenizer.decode(tokens, decoder=[NAME])
    for seed in (-1, 2**63, 0.5, "a", None, True):
        for name in ("plain", NAME):
            with pytest.raises(
                ValueError, match=rf"^seed is {re.escape(repr(seed))}, but must be a whole number from 0 to"
            ):
                tokenizer.decode(tokens, decoder=name, seed=seed)
    assert tokenizer.decode(tokens, decoder=NAME, seed=2**63 - 1) and tokenizer.decode(
        tokens, decoder=NAME, seed=np.int64(3)
    )


def test_a_damaged_decoder_is_told_when_it_is_asked_for_and_not_lost_by_saving(unet_folder, tmp_path):
    tokenizer = vistok.load(unet_folder, device="cpu")
    tokenizer.save_pretrained(tmp_path / "a")
    weights = tmp_path / "a" / "decoders" / NAME / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    damaged = vistok.load(tmp_path / "a", device="cpu")
    tokens = some_tokens(tokenizer.model)
    assert torch.equal(damaged.decode(tokens, output="tensor"), tokenizer.decode(tokens, output="tensor"))
    assert "is damaged" in damaged.decoders[NAME].error and damaged.fingerprint == tokenizer.fingerprint
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged \("):
        damaged.decode(tokens, decoder=NAME)
    with pytest.raises(
        ValueError, match="^The decoder generative could not be loaded, and would be lost: mend it, or remove"
    ):
        damaged.save_pretrained(tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_saving_keeps_a_decoder_that_came_into_the_folder_after_loading(unet_folder, tmp_path):
    shutil.copytree(unet_folder, tmp_path / "a")
    tokenizer = vistok.load(tmp_path / "a", device="cpu")
    place = shutil.copytree(unet_folder / "decoders" / NAME, tmp_path / "a" / "decoders" / "added")
    files = {path.name: path.read_bytes() for path in place.iterdir()}
    tokenizer.save_pretrained(tmp_path / "a")
    assert {path.name: path.read_bytes() for path in place.iterdir()} == files
    assert list(vistok.load(tmp_path / "a", device="cpu").decoders) == ["plain", "added", NAME]
    assert 'decoder="added"' in (tmp_path / "a" / "README.md").read_text()


def test_saving_over_a_decoder_that_would_not_fit_is_refused(unet_folder, tmp_path):
    shutil.copytree(unet_folder, tmp_path / "a")
    tokenizer = vistok.load(unet_folder, device="cpu")
    tokenizer.model.decoders.clear()
    with torch.no_grad():
        next(tokenizer.model.decoder.parameters()).mul_(1.5)
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="a has the decoder generative, which would not fit this tokenizer or cannot"):
        tokenizer.save_pretrained(tmp_path / "a")
    assert before == {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}


def test_saving_keeps_the_decoders_also_with_other_preprocessing(folder, tmp_path):
    tokenizer = vistok.load(folder, device="cpu")
    tokenizer.with_preprocessing(PreprocessingConfig(size=32)).save_pretrained(tmp_path / "a")
    saved = vistok.load(tmp_path / "a", device="cpu")
    tokens = some_tokens(tokenizer.model)
    assert (
        torch.equal(decoded(saved, tokens, 1), decoded(tokenizer, tokens, 1)) and saved.decoders == tokenizer.decoders
    )
    assert 'decoder="generative", seed=0' in (tmp_path / "a" / "README.md").read_text()


def test_decoders_go_to_the_hub_and_come_back_and_old_ones_go(hub, unet_folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    tokenizer = vistok.load(unet_folder, device="cpu")
    tokenizer.model.decoders["second"] = tokenizer.model.decoders[NAME]
    tokenizer.push_to_hub("me/photo")
    tokens = some_tokens(tokenizer.model)
    there = vistok.load("hf://me/photo", device="cpu")
    assert list(there.decoders) == ["plain", NAME, "second"]
    assert torch.equal(decoded(there, tokens, 1), decoded(tokenizer, tokens, 1))
    del tokenizer.model.decoders["second"]
    tokenizer.push_to_hub("me/photo")
    assert list(vistok.load("hf://me/photo", device="cpu").decoders) == ["plain", NAME]


@pytest.fixture
def photos(tmp_path):
    from samples import noise_image

    (tmp_path / "photos").mkdir()
    for index in range(3):
        noise_image(16, 16, index).save(tmp_path / "photos" / f"{index}.png")
    return tmp_path / "photos"


def test_shards_come_back_by_decoder_and_seed_and_resume_knows_them(
    unet_folder, tokenize, detokenize, photos, tmp_path
):
    tokenize(photos, "--out", tmp_path / "tokens", "--preview", 2, model=unet_folder)
    with Image.open(tmp_path / "tokens" / "preview.png") as sheet:
        assert sheet.size == (2 * (16 + 8) + 8, 3 * (16 + 8) + 8)
    options = (tmp_path / "tokens", "--out", tmp_path / "back", "--decoder", NAME)
    assert "3 images" in detokenize(*options, "--seed", 4, model=unet_folder)
    tokenizer = vistok.load(unet_folder, device="cpu")
    for path in photos.iterdir():
        (expected,) = decoded(tokenizer, tokenizer.encode(path), 4, "pil")
        with Image.open(tmp_path / "back" / path.name) as image:
            assert np.array_equal(np.asarray(image), np.asarray(expected))
    assert "3 there before" in detokenize(*options, "--seed", 4, model=unet_folder)
    said = detokenize(*options, "--seed", 5, model=unet_folder, code=2)
    assert "is there already: give another --out folder, or --overwrite" in said
    assert "3 images" in detokenize(*options, "--seed", 5, "--overwrite", model=unet_folder)
    assert "decoder is 'fancy', but this tokenizer has" in detokenize(
        *options, "--decoder", "fancy", model=unet_folder, code=2
    )
    assert "Invalid value for '--seed'" in detokenize(*options, "--seed", -1, model=unet_folder, code=2)


def test_the_figures_of_a_decoder_are_those_of_its_images(unet_folder, evaluate_several, photos, tmp_path):
    out = tmp_path / "out"
    evaluate_several(unet_folder, photos, "--decoder", NAME, "--seed", 4, "--out", out)
    figures = json.loads((out / "metrics.json").read_text())
    assert (figures["decoder"], figures["seed"]) == (NAME, 4)
    tokenizer = vistok.load(unet_folder, device="cpu")
    errors = []
    for path in photos.iterdir():
        (image,) = decoded(tokenizer, tokenizer.encode(path), 4, "pil")
        errors.append(np.mean((np.asarray(image, np.float64) - np.asarray(Image.open(path), np.float64)) ** 2))
    assert figures["psnr"] == pytest.approx(np.mean([10 * np.log10(255**2 / error) for error in errors]), abs=1e-3)
    assert f"decoder {NAME}, seed 4" in (out / "report.html").read_text()
    assert "decoder is 'fancy'" in evaluate_several(unet_folder, photos, "--decoder", "fancy", "--out", out, code=2)
    assert "photo-f8: decoder is 'fancy'" in evaluate_several(
        "photo-f8", unet_folder, photos, "--decoder", "fancy", "--out", out, code=2
    )


def test_several_tokenizers_are_compared_with_a_decoder_that_all_have(
    unet_folder, folder, evaluate_several, photos, tmp_path
):
    out = tmp_path / "out"
    said = evaluate_several(unet_folder, folder, photos, "--decoder", NAME, "--out", out)
    assert "Measured with decoder generative, seed 0." in said
    assert json.loads((out / "metrics.json").read_text())["decoder"] == NAME


def test_an_export_says_what_it_leaves_out(unet_folder, tmp_path):
    from exports import export

    said = export(unet_folder, "--format", "torch", "--out", tmp_path / "out")
    assert "decoder     the plain one alone; left out: generative" in said
    assert json.loads((tmp_path / "out" / "vistok.json").read_text())["left_out"] == [NAME]
    assert "The decoder is the plain one; left out: generative." in (tmp_path / "out" / "README.md").read_text()
