"""Each stage of a fine-tuning trains its own parts and leaves the others alone."""

import json
import shutil

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

import vistok
from runs import SWAP, finetune
from samples import PHOTOS
from vistok.tokenizer.folder.save_load import load_tokenizer


def test_a_swap_fits_the_quantizer_and_then_trains_the_decoder(fsq_folder, photos, tmp_path):
    said = finetune(fsq_folder, photos, tmp_path, "--quantizer", "simvq", "--codebook-size", 32)
    assert "1 of 8 images are held out" in said and "before" in said and "after" in said
    after = vistok.load(tmp_path / "export")
    assert (after.vocab_size, after.config.quantizer.name, after.config.quantizer.squash) == (32, "vq", "tanh")
    before, stage = load_tokenizer(fsq_folder).model, load_tokenizer(tmp_path / "stages" / "1-quantizer").model
    for name, value in before.state_dict().items():
        if name.startswith(("encoder.", "decoder.")):
            assert torch.equal(value, stage.state_dict()[name]), "the first stage leaves the networks alone"
    for name, value in stage.encoder.state_dict().items():
        assert torch.equal(value, after.model.encoder.state_dict()[name]), "the second leaves the encoder alone"


def test_stages_that_are_done_are_not_done_again(fsq_folder, photos, whole, tmp_path):
    late = tmp_path / "late"
    shutil.copytree(whole, late)
    (late / "finetune.yaml").write_text((late / "finetune.yaml").read_text().replace(str(whole), str(late)))
    for gone in ("stages/3-joint", "stages/2-decoder/export", "export"):
        shutil.rmtree(late / gone)
    assert "collecting latents" not in finetune(fsq_folder, photos, late, *SWAP)
    first, second = (folder / "export" / "model.safetensors" for folder in (late, whole))
    assert first.read_bytes() == second.read_bytes()


def test_the_decoder_alone_keeps_the_tokens(tokenizer_folder, photos, tmp_path):
    finetune(tokenizer_folder, photos, tmp_path, "--only", "decoder", "--steps", 3)
    before, after = vistok.load(tokenizer_folder), vistok.load(tmp_path / "export")
    assert after.fingerprint == before.fingerprint
    tokens = before.encode(PHOTOS / "coffee.jpg")
    assert torch.equal(tokens, after.encode(PHOTOS / "coffee.jpg"))
    assert not torch.equal(before.decode(tokens, "tensor"), after.decode(tokens, "tensor"))


def test_a_tokenizer_is_adapted_to_another_size(fsq_folder, tmp_path):
    """Fitted, trained, evaluated and exported at that size alone: what was larger before is smaller from the start."""
    folder, small = tmp_path / "photos", tmp_path / "small"
    for place, side in ((folder, 96), (small, 32)):
        place.mkdir()
        for path in sorted(PHOTOS.glob("*.jpg")):
            with Image.open(path) as image:
                image.resize((96, 96)).resize((side, side)).save(place / f"{path.stem}.png")
    options = ["--size", 32, "--quantizer", "vq", "--codebook-size", 16, "--set", "data.crop=64", "--set", "seed=3"]
    finetune(fsq_folder, folder, tmp_path / "out", *options)
    after = vistok.load(tmp_path / "out" / "export")
    assert (after.config.preprocessing.size, after.encode(PHOTOS / "coffee.jpg").shape) == (32, (1, 1, 4, 4))
    config = (tmp_path / "out" / "stages" / "2-decoder" / "config.yaml").read_text()
    assert "size: 32" in config and "short_sides:\n  - 32" in config
    # Smaller images at their own size give the same latents: the size alone decides, not the files.
    finetune(fsq_folder, small, tmp_path / "same", *options)
    ours, other = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("out", "same"))
    assert ours["after"]["psnr"] == pytest.approx(other["after"]["psnr"], abs=1.0)
    assert ours["after"]["tokens"] == other["after"]["tokens"] == 16 * ours["images"]


def test_the_licence_stays_with_the_weights_and_their_published_numbers_do_not(tokenizer_folder, photos, tmp_path):
    imported, config = tmp_path / "imported", json.loads((tokenizer_folder / "config.json").read_text())
    shutil.copytree(tokenizer_folder, imported)
    origin = {"family": "ibq", "source": "https://a.b/c", "licence": "Apache-2.0", "checkpoint": "d.ckpt"}
    published = {"repository": "owner/repo@abc", "published": {"rfid": 1.37}}
    (imported / "config.json").write_text(json.dumps(config | {"origin": origin | published}))
    finetune(imported, photos, tmp_path / "out", "--only", "decoder", "--steps", 1)
    kept = load_tokenizer(tmp_path / "out" / "export").config.origin
    assert (kept.family, kept.repository, kept.published) == ("ibq", "owner/repo@abc", {})
    card = ModelCard.load(tmp_path / "out" / "export" / "README.md").data
    assert (card.license, card.base_model, card.tags[-1]) == ("apache-2.0", "owner/repo", "ibq")


def test_without_a_swap_everything_is_trained(tokenizer_folder, photos, tmp_path):
    finetune(tokenizer_folder, photos, tmp_path, "--steps", 3)
    before, after = (load_tokenizer(folder).model for folder in (tokenizer_folder, tmp_path / "export"))
    for part in ("encoder", "quantizer", "decoder"):
        pairs = zip(getattr(before, part).parameters(), getattr(after, part).parameters(), strict=True)
        assert any(not torch.equal(old, new) for old, new in pairs), part


def test_a_grown_codebook_keeps_its_codes(tokenizer_folder, photos, tmp_path):
    still = ["--set", "fit.steps=0", "--set", "decoder.steps=0"]
    finetune(tokenizer_folder, photos, tmp_path, "--grow-to", 400, *still)
    before, grown = (load_tokenizer(folder).model.quantizer for folder in (tokenizer_folder, tmp_path / "export"))
    assert grown.vocab_size == 400
    assert torch.equal(grown.codes()[:300], before.codes())
