"""WeTok (arXiv 2508.05599): group-wise lookup-free quantization, in the network of Open-MAGVIT2."""

from .code_choice import SignsOfLatent
from .open_magvit2 import GROUP_BITS, OPEN_MAGVIT2, TRANSLATION, has_signs_of_latent

WETOK = OPEN_MAGVIT2._replace(
    title="WeTok",
    source="https://github.com/zhuangshaobin/WeTok",
    licence="Apache-2.0",
    recognises=lambda shapes: has_signs_of_latent(shapes, in_groups=True),
    translation=TRANSLATION._replace(choice=SignsOfLatent(bits=GROUP_BITS)),
    notes=(
        *OPEN_MAGVIT2.notes,
        "The original lists the tokens of a position together (y x q); vistok's tokens are q y x, group after group.",
    ),
)
"""The signs of 8 channels are a code, the first channel its least significant bit; each group has 256 codes."""
