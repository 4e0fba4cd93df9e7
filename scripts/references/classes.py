"""The classes of other packages, each with the same functions: pixels, tokens with latents, and images of tokens."""

import importlib
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .published import Reference


class Original(ABC):
    """A network of another package, and how its own code uses it."""

    prefix = ""
    """What the publisher's file has before the names of the tensors."""
    is_dot_product = False
    """Whether the code with the largest dot product is taken, and not the nearest one."""
    has_unit_codes = False
    has_decoder = True
    black = -1.0
    """Its value in the networks, where white is 1."""

    def __init__(self, model: Any):
        self.model = model

    def pixels(self, images: Tensor) -> Tensor:
        """Return what the network takes, of uint8 images `b c h w`."""
        return images.float() / 255 * (1 - self.black) + self.black

    @abstractmethod
    def tokens(self, pixels: Tensor) -> Tensor:
        """Return tokens `b y x`."""

    def latents_and_tokens(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the quantizer gets, `b d y x`, and tokens `b y x`."""
        seen: list[Tensor] = []
        hook = self.model.quantize.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        tokens = self.tokens(pixels)
        hook.remove()
        (latents,) = seen
        return latents.reshape(len(latents), -1, *latents.shape[-2:]), tokens

    def decode(self, tokens: Tensor) -> Tensor:
        """Return images `b c h w`, where black is -1 and white is 1, not clamped."""
        raise NotImplementedError

    @property
    def codebook(self) -> nn.Parameter:
        """Codes `k d`."""
        return self.model.quantize.embedding.weight

    def save(self, folder: Path) -> Path:
        """Write the weights as the publisher does, and return what import-tokenizer takes."""
        from safetensors.torch import save_file

        path = folder / "model.safetensors"
        save_file({f"{self.prefix}{name}": tensor for name, tensor in self.model.state_dict().items()}, path)
        return path


class Chameleon(Original):
    """ChameleonVQVAE, which has no decoder; its processor multiplies pixels by 0.0078."""

    prefix = "model.vqmodel."
    has_decoder = False

    def pixels(self, images: Tensor) -> Tensor:
        return images.float() * 0.0078 - 1

    def tokens(self, pixels: Tensor) -> Tensor:
        grid = (side // 16 for side in pixels.shape[2:])
        return self.model.encode(pixels).image_tokens.reshape(len(pixels), *grid)


class Janus(Original):
    """JanusVQVAE. Its encode does not normalise codes, as the original does; with codes of length 1 both choose the same."""

    prefix = "model.vqmodel."
    has_unit_codes = True
    tokens = Chameleon.tokens

    def decode(self, tokens: Tensor) -> Tensor:
        return self.model.decode(tokens.flatten(1))


class Emu3(Original):
    """Emu3VQVAE, which repeats an image in time."""

    prefix = "model.vqmodel."

    def tokens(self, pixels: Tensor) -> Tensor:
        sizes = torch.tensor([pixels.shape[2:]] * len(pixels))
        return torch.stack(list(self.model.encode(pixels, sizes).image_tokens))

    def decode(self, tokens: Tensor) -> Tensor:
        return self.model.decode(tokens)


class Apertus(Original):
    """Apertus1p5VisionTokenizerModel: Emu3.5's tokenizer without its decoder."""

    prefix = "model.vision_tokenizer."
    is_dot_product = True
    has_decoder = False

    def tokens(self, pixels: Tensor) -> Tensor:
        return self.model.encode(pixels).image_tokens


class VQModel(Original):
    """diffusers' VQModel. Without attention in the middle, as in aMUSEd, its pixels are in [0, 1]."""

    def __init__(self, model: Any):
        super().__init__(model)
        self.black = -1.0 if model.config.mid_block_add_attention else 0.0

    def tokens(self, pixels: Tensor) -> Tensor:
        latents = self.model.encode(pixels).latents
        indices = self.model.quantize(latents)[2][2]
        return indices.reshape(len(latents), *latents.shape[2:])

    def decode(self, tokens: Tensor) -> Tensor:
        shape = (*tokens.shape, self.codebook.shape[1])
        is_looked_up = self.model.config.lookup_from_codebook
        given = tokens if is_looked_up else self.model.quantize.get_codebook_entry(tokens, shape)
        images = self.model.decode(given, force_not_quantize=True, shape=shape).sample
        return (images - self.black) * (2 / (1 - self.black)) - 1

    def save(self, folder: Path) -> Path:
        self.model.save_pretrained(folder)
        return folder


ORIGINALS: dict[str, type[Original]] = {
    "ChameleonVQVAE": Chameleon,
    "JanusVQVAE": Janus,
    "Emu3VQVAE": Emu3,
    "Apertus1p5VisionTokenizerModel": Apertus,
    "VQModel": VQModel,
}


def original(reference: Reference, size: int) -> Original:
    """Build a reference at its published size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(reference.module)
    found = getattr(module, reference.name)
    if reference.package == "diffusers":
        model = found(**reference.config)
    else:
        config = dict(reference.config)
        if reference.name == "JanusVQVAE":
            config["num_patches"] = size // reference.downsample  # it decodes no other grid
        model = found(found.config_class(**config))
    return ORIGINALS[reference.name](model.eval().requires_grad_(False))
