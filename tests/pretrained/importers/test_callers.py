"""What the caller has set, such as a default dtype, does not change what is imported."""

import contextlib

import torch
from safetensors.torch import save_file

from golden_weights import golden_case
from vistok.pretrained.importers.import_checkpoint import import_checkpoint


@contextlib.contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


CALLERS = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "default device": lambda: torch.device("meta"),
}


def test_weights_are_the_same_whatever_the_caller_has_set(tmp_path):
    """Emu3's are partly folded into others, so they are computed."""
    save_file(golden_case("emu3/small")[1], tmp_path / "a.safetensors")
    expected = import_checkpoint(tmp_path / "a.safetensors", tmp_path / "expected")
    weights = (tmp_path / "expected" / "model.safetensors").read_bytes()
    for name, caller in CALLERS.items():
        with caller():
            before = torch.get_default_dtype()
            found = import_checkpoint(tmp_path / "a.safetensors", tmp_path / name)
            assert torch.get_default_dtype() == before
        assert found == expected, name
        assert (tmp_path / name / "model.safetensors").read_bytes() == weights, name
