"""Whether an extra decoder can be trained for a tokenizer as it is now, asked before anything is trained or written."""

from pathlib import Path

from ...tokenizer.folder.decoder_digest import decoder_digest
from ...tokenizer.folder.decoders import DECODERS_FOLDER, decoder_names, load_decoder
from ...tokenizer.folder.save_load import load_tokenizer
from ..generative.recipes import DecoderTrainingConfig
from ..warm_start import check_same_network
from .prepare import Finetuning


def check_start(run: Finetuning, training: DecoderTrainingConfig) -> None:
    """Raise ValueError when the tokenizer has a decoder of that name that the first stage cannot start from."""
    if training.name not in decoder_names(run.folder):
        return
    model = run.before.model
    before = load_decoder(run.folder, training.name, model)
    decoder = training.network.build(model.architecture, model.quantizer.dim)
    place = run.folder / DECODERS_FOLDER / training.name
    check_same_network(before, decoder, run.config.model, place, ("name for --decoder", "generative.network"))


def check_same_tokenizer(run: Finetuning, stage: Path) -> None:
    """Raise ValueError unless the decoder in the tokenizer folder of a stage fits the tokenizer to start from as it is now."""
    digests = {decoder_digest(load_tokenizer(folder).model) for folder in (run.folder, stage)}
    if len(digests) > 1:
        raise ValueError(
            f"{run.config.model} has other codes or another plain decoder than when {stage.parent} was trained, whose decoder "
            "would not fit: give the tokenizer as it was then, or use another --out folder."
        )
