"""What quantization costs a tokenizer: the PSNR of its reconstructions with the quantizer, and with the identity instead.

    python scripts/quantization_cost.py photo-f8 IMAGES --out results/quantization_cost.json

Without it the decoder gets the latents as the quantizer compares them (bounded or normalised): the most that any finer codebook
over the same channels could give this encoder and decoder.
"""

import argparse
import json
from pathlib import Path

import torch

import vistok
from vistok.evaluation.metrics import psnr
from vistok.images.preprocessing import to_pixels
from vistok.train.data.config import SourceConfig
from vistok.train.data.read_images import ImageReader
from vistok.train.data.source_images import SourceImages
from vistok.train.data.unreadable_images import UnreadableLimit


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--out", type=Path, default=Path("results/quantization_cost.json"))
    arguments = parser.parse_args()
    tokenizer = vistok.load(arguments.model)
    model, quantizer = tokenizer.model, tokenizer.model.quantizer
    entries = SourceImages().of(SourceConfig(path=arguments.images))
    reader = ImageReader(tokenizer.config.preprocessing, tokenizer.downsample)
    images = reader.readable(entries, UnreadableLimit(stop_at_first=True, max_fraction=0), print)
    scores = []
    with torch.inference_mode():
        for image in images:
            pixels = to_pixels(image.unsqueeze(0))
            latent = model.encode_latent(pixels)
            answers = [model.decode_latent(x) for x in (quantizer(latent).latent, quantizer.to_code_space(latent))]
            scores.append(torch.stack([psnr(pixels, answer)[0] for answer in answers]))
    quantized, continuous = torch.stack(scores).mean(dim=0).tolist()
    facts = {
        "model": arguments.model,
        "fingerprint": tokenizer.fingerprint,
        "images": len(scores),
        "psnr": quantized,
        "psnr without a quantizer": continuous,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
