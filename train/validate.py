"""Quality on held-out pictures, brought to the tokenizer's own preprocessing."""

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..images.preprocessing import to_pixels
from ..tokenizer.metrics import psnr


@torch.inference_mode()
def validate(model: nn.Module, pictures: list[Tensor], accelerator: Accelerator) -> dict[str, float]:
    """Return the mean quality of the reconstructions in float32, the pictures shared out over the processes."""
    was_training = model.training
    model.eval()
    total = torch.zeros(2, device=accelerator.device)
    for picture in pictures[accelerator.process_index :: accelerator.num_processes]:
        pixels = to_pixels(picture.unsqueeze(0).to(accelerator.device))
        total += torch.stack([psnr(pixels, model(pixels).pixels).sum(), torch.ones((), device=accelerator.device)])
    model.train(was_training)
    summed = accelerator.reduce(total, reduction="sum")
    assert isinstance(summed, Tensor)
    return {"validation/psnr": float(summed[0] / summed[1]), "validation/pictures": int(summed[1])}
