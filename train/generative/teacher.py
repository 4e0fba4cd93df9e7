"""The teacher of a distillation: a flow decoder of a tokenizer folder."""

from pathlib import Path

from ...tokenizer.decoders.base import ExtraDecoder
from ...tokenizer.folder.decoder_digest import decoder_digest
from ...tokenizer.folder.decoders import decoder_names, load_decoder
from ...tokenizer.folder.save_load import load_tokenizer
from ...tokenizer.model import VisualTokenizer
from .recipe import Predicts


def load_teacher(folder: Path, name: str, model: VisualTokenizer) -> ExtraDecoder:
    """Load the decoder `name` of a tokenizer folder, frozen, as the teacher of that of `model`.

    Raises ValueError when there is none, it predicts nothing, or it was trained for another tokenizer or plain decoder.
    """
    found = load_tokenizer(folder).model
    if name not in decoder_names(folder):
        raise ValueError(
            f"decoder.recipe.teacher is {folder}, which has no decoder {name}: train it first with the recipe flow, or give "
            "another folder."
        )
    teacher = load_decoder(folder, name, found)
    if not isinstance(teacher, Predicts):
        raise ValueError(
            f"decoder.recipe.teacher is {folder}, whose decoder {name} is a {teacher.config.name} and no flow: give a folder "
            "with one that was trained with the recipe flow."
        )
    if decoder_digest(found) != decoder_digest(model):
        raise ValueError(
            f"decoder.recipe.teacher is {folder}, but its tokenizer or its plain decoder is another than that of "
            "model.init_from: give a teacher of the same."
        )
    return teacher.requires_grad_(False).eval()
