"""The families of public checkpoints that can be imported."""

from .base import Importer
from .chameleon import CHAMELEON, CHAMELEON_OF_TRANSFORMERS
from .cosmos import COSMOS
from .diffusers import DIFFUSERS, DIFFUSERS_WITHOUT_MIDDLE_ATTENTION, OLD_DIFFUSERS
from .emu3 import EMU3, EMU3_OF_TRANSFORMERS
from .emu35 import APERTUS, EMU35
from .ibq import IBQ
from .llamagen import JANUS, JANUS_OF_TRANSFORMERS, LLAMAGEN
from .maskgit import MASKGIT
from .muse import MUSE
from .open_magvit2 import OPEN_MAGVIT2, OPEN_MAGVIT2_AT_128
from .simvq import SIMVQ
from .taming import TAMING, TAMING_GUMBEL
from .titok import TITOK, TITOK_WITH_SOFT_CODES
from .unitok import UNITOK
from .var import VAR
from .wetok import WETOK

IMPORTERS: dict[str, tuple[Importer, ...]] = {
    "emu3.5": (EMU35, APERTUS),
    "llamagen": (LLAMAGEN, JANUS, JANUS_OF_TRANSFORMERS),
    "taming": (TAMING, TAMING_GUMBEL),
    "chameleon": (CHAMELEON, CHAMELEON_OF_TRANSFORMERS),
    "diffusers": (DIFFUSERS, DIFFUSERS_WITHOUT_MIDDLE_ATTENTION, OLD_DIFFUSERS),
    "ibq": (IBQ,),
    "muse": (MUSE,),
    "open-magvit2": (OPEN_MAGVIT2, OPEN_MAGVIT2_AT_128),
    "wetok": (WETOK,),
    "simvq": (SIMVQ,),
    "maskgit": (MASKGIT,),
    "emu3": (EMU3, EMU3_OF_TRANSFORMERS),
    "cosmos": (COSMOS,),
    "var": (VAR,),
    "titok": (TITOK, TITOK_WITH_SOFT_CODES),
    "unitok": (UNITOK,),
}
"""Each family with its layouts, which differ in the names of the tensors."""
VERSION = 1
"""Raise it when an importer makes another tokenizer of the same checkpoint: imported tokenizers are cached by it."""
