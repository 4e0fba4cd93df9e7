"""Public tokenizers by name: where their checkpoints are, and what was published about them."""

from collections.abc import Mapping
from typing import NamedTuple

LLAMAGEN = "https://github.com/FoundationVision/LlamaGen"
SEED_VOKEN = "https://github.com/TencentARC/SEED-Voken/blob/main/docs"
SIMVQ = "https://github.com/youngsheen/SimVQ"
TITOK = "https://github.com/bytedance/1d-tokenizer/blob/main/README_TiTok.md"
UNITOK = "https://github.com/FoundationVision/UniTok"
COSMOS_ON_HUB = "nvidia/Cosmos-0.1-Tokenizer-DI"
HALVES = ("encoder.jit", "decoder.jit")
COSMOS = "https://github.com/NVIDIA/Cosmos-Tokenizer"
CHAMELEON_LICENCE = "Chameleon Research License (non-commercial)"
DEEPSEEK_LICENCE = "DeepSeek Model License"
NVIDIA_LICENCE = "NVIDIA Open Model License"
MUSE_LICENCE = "Apache-2.0 for the code; see its page for that of the weights"


class PublicTokenizer(NamedTuple):
    """A checkpoint on the Hugging Face hub, and what is known about it without downloading it."""

    family: str
    """Name of its importer."""
    repository: str
    files: tuple[str, ...]
    """What is downloaded. A file name may be a pattern that one file of the repository matches. Files of weights that are
    several are imported as a folder; of those that an index lists, only the ones with a part of the tokenizer are needed."""
    licence: str
    """Licence of the weights, as the publisher writes it."""
    downsample: int | None
    """Pixels along one side of a token; None where tokens have no grid."""
    codes: int
    """Codes of each codebook."""
    codebooks: int = 1
    tokens: int | None = None
    """Tokens of an image, where they are not one for each square of `downsample` pixels."""
    parameters: float | None = None
    """Millions of parameters, the codebook included."""
    published: Mapping[str, float] = {}
    """Metrics on ImageNet's 50,000 validation images, as published; ssim in [0, 1]."""
    published_in: str = ""
    """URL of these numbers."""
    named_in: str = ""
    """URL of a page of the publisher's that names repository and file; empty where a part of it is taken on trust."""
    prefix: str = ""
    """What the names of the tokenizer's tensors begin with, where an index lists those of a language model too."""
    settings: tuple[str, ...] = ()
    """Settings for the import, as for `import-tokenizer --set`."""
    is_gated: bool = False
    """Whether the hub asks users to accept the licence first."""
    revision: str = "main"
    """Branch, tag or commit."""


def _llamagen(repository: str, file: str, side: int, parameters: float, **published: float) -> PublicTokenizer:
    return PublicTokenizer(
        "llamagen",
        repository,
        (file,),
        "MIT",
        side,
        16384,
        parameters=parameters,
        published=published,
        published_in=LLAMAGEN if published else "",
        named_in=LLAMAGEN,
    )


def _ibq(codes: int, parameters: float, rfid: float, lpips: float) -> PublicTokenizer:
    return PublicTokenizer(
        "ibq",
        f"TencentARC/IBQ-Tokenizer-{codes}",
        (f"imagenet256_{codes}.ckpt",),
        "Apache-2.0",
        16,
        codes,
        parameters=parameters,
        published={"rfid": rfid, "lpips": lpips},
        published_in=f"{SEED_VOKEN}/IBQ.md",
        named_in=f"{SEED_VOKEN}/IBQ.md",
    )


def _simvq(name: str, codes: int, parameters: float, rfid: float, psnr: float, ssim: float) -> PublicTokenizer:
    return PublicTokenizer(
        "simvq",
        "zyx123/SimVQ",
        (f"vq_log/simvq_{name}/*.ckpt",),
        "MIT",
        8,
        codes,
        parameters=parameters,
        published={"rfid": rfid, "psnr": psnr, "ssim": ssim},  # at 128 x 128; SSIM is in percent there
        published_in=SIMVQ,
    )


def _open_magvit2(
    where: str, file: str, side: int, codes: int, parameters: float | None, **published: float
) -> PublicTokenizer:
    page = f"{SEED_VOKEN}/Open-MAGVIT2.md"
    return PublicTokenizer(
        "open-magvit2",
        f"TencentARC/Open-MAGVIT2-Tokenizer-{where}",
        (file,),
        "Apache-2.0",
        side,
        codes,
        parameters=parameters,
        published=published,
        published_in=page,
        named_in=page,
    )


def _vqmodel(
    repository: str, licence: str, parameters: float | None, settings: tuple[str, ...] = ()
) -> PublicTokenizer:
    files = ("vqvae/config.json", "vqvae/diffusion_pytorch_model.safetensors")
    return PublicTokenizer("diffusers", repository, files, licence, 16, 8192, parameters=parameters, settings=settings)


def _titok(name: str, tokens: int, parameters: float | None, rfid: float) -> PublicTokenizer:
    return PublicTokenizer(
        "titok",
        "fun-research/TiTok",
        (f"tokenizer_titok_{name}.bin",),
        "Apache-2.0",
        None,
        4096,
        tokens=tokens,
        parameters=parameters,
        published={"rfid": rfid},
        published_in=TITOK,
        named_in=TITOK,
    )


PUBLIC: dict[str, PublicTokenizer] = {
    "emu3.5": PublicTokenizer(
        "emu3.5",
        "BAAI/Emu3.5-VisionTokenizer",
        ("model.ckpt",),
        "Apache-2.0",
        16,
        131072,
        parameters=455.3,
        named_in="https://github.com/baaivision/Emu3.5/blob/main/src/vision_tokenizer/__init__.py",
    ),
    "llamagen-vq16": _llamagen("FoundationVision/LlamaGen", "vq_ds16_c2i.pt", 16, 71.9, rfid=2.19),
    "llamagen-vq16-t2i": _llamagen("peizesun/llamagen_t2i", "vq_ds16_t2i.pt", 16, 71.9),
    "llamagen-vq8": _llamagen("FoundationVision/LlamaGen", "vq_ds8_c2i.pt", 8, 70.1, rfid=0.59),
    "janus-pro": PublicTokenizer(
        "llamagen", "deepseek-ai/Janus-Pro-1B", ("pytorch_model.bin",), DEEPSEEK_LICENCE, 16, 16384, parameters=71.9
    ),
    "chameleon": PublicTokenizer(
        "chameleon",
        "facebook/chameleon-7b",
        ("model.safetensors.index.json",),
        CHAMELEON_LICENCE,
        16,
        8192,
        prefix="model.vqmodel.",
        is_gated=True,
    ),
    "amused-256": _vqmodel(
        "amused/amused-256", "openrail++", 146.2, ("preprocessing.size=256", "preprocessing.fit=repeat")
    ),
    "amused-512": _vqmodel(
        "amused/amused-512", "openrail++", 146.2, ("preprocessing.size=512", "preprocessing.fit=repeat")
    ),
    "lumina-dimoo": _vqmodel("Alpha-VLLM/Lumina-DiMOO", "Apache-2.0", None),
    "muse-laion": PublicTokenizer(
        "muse",
        "openMUSE/vqgan-f16-8192-laion",
        ("pytorch_model.bin",),
        MUSE_LICENCE,
        16,
        8192,
        parameters=146.2,
    ),
    "ibq-1024": _ibq(1024, 107.1, 2.24, 0.2580),
    "ibq-8192": _ibq(8192, 108.9, 1.87, 0.2437),
    "ibq-16384": _ibq(16384, 111.0, 1.37, 0.2235),
    "ibq-262144": _ibq(262144, 173.9, 1.00, 0.2030),
    "open-magvit2-128": _open_magvit2(  # numbers at 128 x 128
        "128-resolution", "imagenet_128_L.ckpt", 8, 262144, 112.0, rfid=1.18, psnr=25.08
    ),
    "open-magvit2-256": _open_magvit2(
        "256-resolution", "imagenet_256_L.ckpt", 16, 262144, 115.1, rfid=1.17, psnr=21.90
    ),
    "open-magvit2-pretrain-16384": _open_magvit2(
        "16384-Pretrain", "pretrain256_16384.ckpt", 16, 16384, None, rfid=2.55, psnr=22.21, ssim=0.62
    ),
    "open-magvit2-pretrain-262144": _open_magvit2(
        "262144-Pretrain", "pretrain256_262144.ckpt", 16, 262144, 115.1, rfid=1.67, psnr=22.70, ssim=0.64
    ),
    "maskgit-vqgan": PublicTokenizer(
        "maskgit",
        "fun-research/TiTok",
        ("maskgit-vqgan-imagenet-f16-256.bin",),
        "Apache-2.0",
        16,
        1024,
        parameters=54.5,
        named_in="https://github.com/bytedance/1d-tokenizer/blob/main/README_RAR.md",
    ),
    "cosmos-di8x8": PublicTokenizer(
        "cosmos", f"{COSMOS_ON_HUB}8x8", HALVES, NVIDIA_LICENCE, 8, 64000, parameters=79.0, named_in=COSMOS
    ),
    "cosmos-di16x16": PublicTokenizer(
        "cosmos",
        f"{COSMOS_ON_HUB}16x16",
        HALVES,
        NVIDIA_LICENCE,
        16,
        64000,
        parameters=83.7,
        published={"rfid": 4.57, "psnr": 19.93, "ssim": 0.49},  # measured by others, at 256 x 256
        published_in=f"{SEED_VOKEN}/IBQ.md",
        named_in=COSMOS,
    ),
    "simvq-1k": _simvq("1k", 1024, 64.3, 3.67, 22.34, 0.708),
    "simvq-8k": _simvq("8k", 8192, 65.2, 2.98, 23.23, 0.747),
    "simvq-65k": _simvq("65k", 65536, 72.6, 2.24, 24.15, 0.784),
    "simvq-262k": _simvq("262k", 262144, 97.7, 1.99, 24.68, 0.803),
    "titok-l32": _titok("l32", 32, 641.1, 2.21),
    "titok-b64": _titok("b64", 64, None, 1.70),
    "titok-s128": _titok("s128", 128, None, 1.71),
    "titok-bl64-vq8k": PublicTokenizer(
        "titok",
        "yucornetto/tokenizer_titok_bl64_vq8k_imagenet",
        ("config.json", "model.safetensors"),
        "Apache-2.0",
        None,
        8192,
        tokens=64,
        parameters=390.0,
        published={"rfid": 2.06},
        published_in=TITOK,
    ),
    "var-vae": PublicTokenizer(
        "var",
        "FoundationVision/var",
        ("vae_ch160v4096z32.pth",),
        "MIT",
        16,
        4096,
        tokens=680,
        parameters=108.9,
        published={"rfid": 0.90},  # measured by others
        published_in=UNITOK,
        named_in="https://github.com/FoundationVision/VAR",
    ),
    "wetok-imagenet-f8": PublicTokenizer(
        "wetok", "GrayShine/WeTok", ("ImageNet/downsample8/WeTok.ckpt",), "Apache-2.0", 8, 256, 4
    ),
    "wetok-imagenet-f16": PublicTokenizer(
        "wetok",
        "GrayShine/WeTok",
        ("ImageNet/downsample16/WeTok.ckpt",),
        "Apache-2.0",
        16,
        256,
        4,
        parameters=460.3,
    ),
    "unitok": PublicTokenizer(
        "unitok",
        "FoundationVision/unitok_tokenizer",
        ("unitok_tokenizer.pth",),
        "MIT",
        16,
        4096,
        8,
        parameters=695.9,
        published={"rfid": 0.41},
        published_in=UNITOK,
        named_in=UNITOK,
    ),
    "emu3": PublicTokenizer(
        "emu3", "BAAI/Emu3-VisionTokenizer", ("model.safetensors",), "Apache-2.0", 8, 32768, parameters=270.7
    ),
}
"""Each public tokenizer by its name."""


class Public(NamedTuple):
    """A public tokenizer at one commit of its repository."""

    entry: PublicTokenizer
    commit: str


def published_of_family(family: str) -> dict[str, PublicTokenizer]:
    """Return the public tokenizers of a family that have published numbers."""
    return {name: entry for name, entry in PUBLIC.items() if entry.family == family and entry.published}
