"""Which device a user means."""

import torch


def find_device(device: str | torch.device) -> torch.device:
    """Return a device by its name, auto being a GPU where there is one; raise ValueError when it cannot be used here."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()  # which the meta device, without values, refuses
    except (RuntimeError, AssertionError, TypeError):
        usable = "cpu or cuda" if torch.cuda.is_available() else "cpu, there is no cuda"
        raise ValueError(f"Device {str(device)!r} cannot be used on this machine: use {usable}.") from None
    return found
