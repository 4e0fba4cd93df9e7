"""What a device is good at."""

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16; on a CPU without, it is far slower than float32."""
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
