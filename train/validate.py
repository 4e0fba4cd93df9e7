"""Quality on held-out pictures, brought to the tokenizer's own preprocessing."""

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..images.preprocessing import to_pixels
from ..tokenizer.exact import in_batches
from ..tokenizer.metrics import psnr
from ..tokenizer.numerics import own_numerics


def validate(model: nn.Module, pictures: list[Tensor], accelerator: Accelerator) -> dict[str, float]:
    """Return the mean quality of the reconstructions in float32, the pictures shared out over the processes."""
    was_training = model.training
    model.eval()
    ours = pictures[accelerator.process_index :: accelerator.num_processes]
    with own_numerics(accelerator.device):
        total = torch.zeros(2)
        for batch in in_batches(to_pixels(image.unsqueeze(0)) for image in ours):
            pixels = batch.to(accelerator.device)
            total += torch.stack([psnr(pixels, model(pixels).pixels).sum(), torch.tensor(float(len(batch)))])
    model.train(was_training)
    summed = accelerator.reduce(total, reduction="sum")
    assert isinstance(summed, Tensor)
    return {"validation/psnr": float(summed[0] / summed[1]), "validation/pictures": int(summed[1])}
