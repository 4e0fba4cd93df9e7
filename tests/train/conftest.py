"""Fixtures that the tests of the trainer share."""

import pytest
import timm
import torch
from safetensors.torch import save_file


@pytest.fixture(scope="session")
def perceptual(tmp_path_factory):
    """A perceptual loss over a tiny network with random weights, from a file."""
    path = tmp_path_factory.mktemp("backbone") / "test_resnet.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return ["losses.perceptual=0.1", f"criteria.perceptual={{backbone: test_resnet, weights: {path}}}"]
