"""Decoders by what is typed: LABEL=FOLDER:NAME@STEPS, the plain one where no name is given."""

import hashlib
import json
import re
from typing import NamedTuple

import torch
from torch import nn

import vistok
from vistok.evaluation.exact_coding import Decode, exact_decoder
from vistok.tokenizer.decoders.base import PLAIN

FORM = re.compile(r"(?:(?P<label>[^=:@]+)=)?(?P<folder>.+?)(?::(?P<decoder>[\w-]+))?(?:@(?P<steps>\d+))?")


class Spec(NamedTuple):
    """Which decoder of which tokenizer folder, and how many steps it takes if not those of its folder."""

    label: str
    folder: str
    decoder: str = PLAIN
    steps: int | None = None


class Opened(NamedTuple):
    """A decoder that is ready, with the tokenizer that it belongs to."""

    label: str
    tokenizer: vistok.Tokenizer
    decode: Decode
    digest: str
    """SHA-256 of its weights and settings."""
    is_plain: bool


def parse_spec(text: str) -> Spec:
    """Return the decoder that `text` means; without a label it gets its name and steps."""
    found = FORM.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} names no decoder: give LABEL=FOLDER:NAME@STEPS, of which only FOLDER is needed.")
    decoder, steps = found["decoder"] or PLAIN, found["steps"]
    label = found["label"] or decoder + (f", {steps} steps" if steps else "")
    return Spec(label, found["folder"], decoder, int(steps) if steps else None)


def open_plain(folder: str, device: str) -> Opened:
    """Load a tokenizer with its plain decoder."""
    return opened(Spec(PLAIN, folder), vistok.load(folder, device=device))


def open_decoder(spec: Spec, plain: Opened) -> Opened:
    """Load a decoder; raise ValueError unless its tokenizer gives the tokens of the plain one's."""
    tokenizer = vistok.load(spec.folder, device=plain.tokenizer.device)
    if tokenizer.fingerprint != plain.tokenizer.fingerprint:
        raise ValueError(
            f"The tokenizer of {spec.label} has the fingerprint {tokenizer.fingerprint[:12]}, and the first one "
            f"{plain.tokenizer.fingerprint[:12]}: compare decoders of the same tokens."
        )
    return opened(spec, tokenizer)


def opened(spec: Spec, tokenizer: vistok.Tokenizer) -> Opened:
    """Return the decoder of a loaded tokenizer; raise ValueError when there is none, or it takes no such steps."""
    if spec.decoder == PLAIN:
        if spec.steps is not None:
            raise ValueError(f"{spec.label} asks the plain decoder for {spec.steps} steps: leave @{spec.steps} out.")
        networks: list[nn.Module] = [tokenizer.model.quantizer_out, tokenizer.model.decoder]
        return Opened(spec.label, tokenizer, exact_decoder(tokenizer.model), digest(networks), True)
    network = tokenizer.model.extra_decoder(spec.decoder)
    if spec.steps is not None:
        if not 1 <= spec.steps <= network.max_steps:
            raise ValueError(
                f"{spec.label} is asked for {spec.steps} steps, but takes 1 to {network.max_steps}: give one of these."
            )
        network.steps = spec.steps
    facts = {"scale": network.scale, "steps": network.steps}
    return Opened(spec.label, tokenizer, exact_decoder(tokenizer.model, spec.decoder), digest([network], facts), False)


def digest(networks: list[nn.Module], facts: object = None) -> str:
    """Return the SHA-256 of weights and facts."""
    digested = hashlib.sha256(json.dumps(facts).encode())
    for network in networks:
        for name, value in network.state_dict().items():
            digested.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digested.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digested.hexdigest()
