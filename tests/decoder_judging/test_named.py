"""Decoders by what is typed, and their steps; each that cannot be judged is refused."""

import pytest
import torch

import vistok
from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig


def test_decoders_by_what_is_typed():
    from decoder_judging.named import Spec, parse_spec

    expected = {
        "photo-f8": Spec("plain", "photo-f8"),
        "runs/x/export:generative": Spec("generative", "runs/x/export", "generative"),
        "runs/x:flow@25": Spec("flow, 25 steps", "runs/x", "flow", 25),
        "one step=runs/x:flow@1": Spec("one step", "runs/x", "flow", 1),
        "hf://owner/repo": Spec("plain", "hf://owner/repo"),
        "hf://owner/repo:gan": Spec("gan", "hf://owner/repo", "gan"),
        "hf://owner/repo@main:gan": Spec("gan", "hf://owner/repo@main", "gan"),
    }
    assert {text: parse_spec(text) for text in expected} == expected
    with pytest.raises(ValueError, match="'' names no decoder: give LABEL=FOLDER:NAME@STEPS, of which only FOLDER is"):
        parse_spec("")


def test_decoders_of_a_folder_with_their_steps(tokenizer_folder, decoders_folder):
    from decoder_judging.named import open_decoder, open_plain, parse_spec

    plain = open_plain(str(tokenizer_folder), "cpu")
    tokens = torch.arange(64).reshape(1, 1, 8, 8)
    tokenizer = vistok.load(decoders_folder, device="cpu")
    digests = {plain.digest}
    for name in (":gan", ":flow", ":flow@1", ":flow@8"):
        decoder = open_decoder(parse_spec(f"{decoders_folder}{name}"), plain)
        kind, _, steps = name.removeprefix(":").partition("@")
        tokenizer.model.decoders[kind].steps = int(steps or 1)
        expected = [tokenizer.decode(tokens, output="tensor", decoder=kind, seed=seed) for seed in (0, 5)]
        assert all(map(torch.equal, [(decoder.decode(tokens, seed) + 1) / 2 for seed in (0, 5)], expected))
        assert not torch.equal(*expected) and not decoder.is_plain
        digests.add(decoder.digest)
    assert len(digests) == 4  # flow takes one step by itself
    again = open_decoder(parse_spec(str(decoders_folder)), plain)
    assert again.is_plain and again.digest == plain.digest
    assert torch.equal(again.decode(tokens, 3), plain.decode(tokens, 0))


def test_decoders_that_cannot_be_judged_are_refused(tokenizer_folder, decoders_folder, tmp_path):
    from decoder_judging.named import open_decoder, open_plain, parse_spec

    plain = open_plain(str(tokenizer_folder), "cpu")
    other = tmp_path / "other"
    save_tokenizer(other, small_tokenizer(seed=1), ARCHITECTURE, PreprocessingConfig(size=64), "# other\n")
    refused = {
        f"{decoders_folder}:gan@2": "gan, 2 steps is asked for 2 steps, but takes 1 to 1: give one of these",
        f"{decoders_folder}:flow@26": "flow, 26 steps is asked for 26 steps, but takes 1 to 25: give one of these",
        f"{decoders_folder}:flow@0": "flow, 0 steps is asked for 0 steps, but takes 1 to 25: give one of these",
        f"{decoders_folder}@0": "plain, 0 steps asks the plain decoder for 0 steps: leave @0 out",
        f"{decoders_folder}@3": "plain, 3 steps asks the plain decoder for 3 steps: leave @3 out",
        f"{decoders_folder}:fgm": "decoder is 'fgm', but this tokenizer has plain, flow, gan: give one of these",
        f"{other}": "The tokenizer of plain has the fingerprint .{12}, and the first one .{12}: compare decoders of the same",
    }
    for text, message in refused.items():
        with pytest.raises(ValueError, match=message):
            open_decoder(parse_spec(text), plain)
