"""WeTok: groups of signs."""

import pytest
import torch
from golden_checks import check_import

from golden_weights import golden_case
from vistok.pretrained.importers.import_checkpoint import import_checkpoint
from vistok.tokenizer.folder.save_load import load_tokenizer


def test_tokens_latents_and_images_are_those_of_the_averaged_weights(tmp_path):
    case, weights = golden_case("wetok/small")
    for given in case["inputs"]:  # y x q in the original, q y x here
        tokens = torch.tensor(given["tokens"]).reshape(given["tokens_shape"])
        given["tokens"] = tokens.permute(2, 0, 1).flatten().tolist()
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "a.ckpt")
    model, config = check_import(case, tmp_path / "a.ckpt", "wetok")
    assert model.quantizer.num_codebooks == config.quantizer.groups == 2 and model.quantizer.vocab_size == 256


def test_the_codes_of_all_groups_are_one_code_of_open_magvit2(tmp_path):
    """A latent of 16 channels could be either: the same bits, and the same image."""
    _, weights = golden_case("wetok/small")
    torch.save(weights, tmp_path / "a.ckpt")
    grouped, whole = (imported(tmp_path / "a.ckpt", tmp_path / family, family) for family in ("wetok", "open-magvit2"))
    pixels = torch.rand(2, 3, 16, 24) * 2 - 1
    low, high = grouped.encode(pixels).unbind(dim=1)
    tokens = whole.encode(pixels)
    assert torch.equal(low + 256 * high, tokens[:, 0])
    assert torch.equal(grouped.decode(grouped.encode(pixels)), whole.decode(tokens))


def test_channels_that_are_no_multiple_of_eight(tmp_path):
    _, weights = golden_case("open-magvit2/small")
    torch.save(weights, tmp_path / "a.ckpt")
    with pytest.raises(
        ValueError,
        match=r"is not a checkpoint of wetok \(its latent has 10 channels, but must have a multiple of 8\): ",
    ):
        import_checkpoint(tmp_path / "a.ckpt", tmp_path / "out", "wetok")


def imported(path, out, family):
    import_checkpoint(path, out, family)
    return load_tokenizer(out).model
