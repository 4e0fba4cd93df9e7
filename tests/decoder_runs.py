"""Small runs that train an extra decoder, and their tokenizer."""

import json

from runs import config, train_again

UNET = "decoder.network={name: residual_unet, channels: [8, 12], blocks: 1, time_channels: 8}"
RECIPES = {
    "gan": ["decoder.recipe={name: gan}", "decoder.network={name: noise_channels, noise: 2}", "losses={l1: 1.0}"],
    "flow": ["decoder.recipe={name: flow, steps: 2}", UNET, "losses={flow: 1.0}"],
    "distill": [
        "decoder.recipe={name: distill, teacher_steps: 2, teacher: TEACHER}",
        UNET,
        "losses={distillation: 1.0}",
    ],
    "fgm": ["decoder.recipe={name: fgm, teacher: TEACHER, fake_steps: 2}", UNET, "losses={matching: 1.0}"],
}
"""What each recipe needs; TEACHER is the folder of a flow."""


def decoder_options(folder, recipe, teacher=None):
    """Return the overrides of a run that trains a decoder for the tokenizer in `folder`."""
    stored = json.loads((folder / "config.json").read_text())
    values = [f"model.{name}={json.dumps(stored[name])}" for name in ("architecture", "quantizer", "preprocessing")]
    values += [f"model.init_from={folder}", "model.train=[]", "data.workers=0", "run.trackers=[]"]
    return values + [each.replace("TEACHER", str(teacher)) for each in RECIPES[recipe]]


def train_decoder(out, folder, recipe, *overrides, teacher=None, steps=6):
    """Train a decoder as a new process would, and return the exported folder."""
    return train_again(out, *decoder_options(folder, recipe, teacher), *overrides, steps=steps)


def decoder_config(out, folder, recipe, *overrides, teacher=None, steps=6):
    return config(out, *decoder_options(folder, recipe, teacher), *overrides, steps=steps)
