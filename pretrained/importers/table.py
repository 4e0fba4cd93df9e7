"""The families of public checkpoints that can be imported."""

from .base import Importer
from .chameleon import Chameleon, ChameleonOfTransformers
from .cosmos import Cosmos
from .diffusers import Diffusers, DiffusersWithoutMiddleAttention, OldDiffusers
from .emu3 import Emu3, Emu3OfTransformers
from .emu35 import Apertus, Emu35
from .ibq import IBQ
from .llamagen import Janus, JanusOfTransformers, LlamaGen
from .maskgit import MaskGIT
from .muse import Muse
from .open_magvit2 import OpenMagvit2, OpenMagvit2At128
from .simvq import SimVQ
from .taming import Taming, TamingGumbel
from .titok import TiTok, TiTokWithSoftCodes
from .unitok import UniTok
from .var import VAR
from .wetok import WeTok

IMPORTERS: dict[str, tuple[Importer, ...]] = {
    "emu3.5": (Emu35(), Apertus()),
    "llamagen": (LlamaGen(), Janus(), JanusOfTransformers()),
    "taming": (Taming(), TamingGumbel()),
    "chameleon": (Chameleon(), ChameleonOfTransformers()),
    "diffusers": (Diffusers(), DiffusersWithoutMiddleAttention(), OldDiffusers()),
    "ibq": (IBQ(),),
    "muse": (Muse(),),
    "open-magvit2": (OpenMagvit2(), OpenMagvit2At128()),
    "wetok": (WeTok(),),
    "simvq": (SimVQ(),),
    "maskgit": (MaskGIT(),),
    "emu3": (Emu3(), Emu3OfTransformers()),
    "cosmos": (Cosmos(),),
    "var": (VAR(),),
    "titok": (TiTok(), TiTokWithSoftCodes()),
    "unitok": (UniTok(),),
}
"""Each family with its layouts, which differ in the names of the tensors."""
