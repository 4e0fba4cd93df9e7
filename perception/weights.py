"""Weight files of frozen networks."""

from pathlib import Path

from timm.models import load_state_dict
from torch import Tensor


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a safetensors or torch file, or from a training checkpoint of timm.

    No pickled code is run. Raises ValueError with one sentence when the file is missing or holds no weights.
    """
    if not path.is_file():
        raise ValueError(f"There is no weight file {path}: correct the path.")
    try:
        content = load_state_dict(str(path), weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds on broken files
        raise ValueError(f"{path} is not a weight file ({shortened(error)}): download it again.") from None
    if not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} holds other things than named tensors: save the state dict of the model alone.")
    return content


def shortened(error: Exception) -> str:
    """Return the first sentence of an error of another package, at most 120 characters."""
    said = " ".join(str(error).split()).partition(". ")[0]
    return said[:120].rstrip(" .") or type(error).__name__
