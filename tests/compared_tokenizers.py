"""Small tokenizers that are compared: with other crops, with published metrics, and without a decoder."""

import json
import shutil
from pathlib import Path

from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.folder.config_json import Origin
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

NO_DECODER = "The tokenizer has no decoder, so only its codes and the speed of its encoder are measured."
PUBLISHED = {"psnr": 20.79, "usage": 0.97, "rfid": 2.19, "clip_score": 0.31}
WITHOUT_DECODER = ARCHITECTURE.model_copy(update={"encoder_only": True})
RESIDUAL = {"name": "residual", "depth": 2, "quantizer": {"name": "vq", "dim": 4, "codebook_size": 100}}


def save(folder, quantizer=None, architecture=ARCHITECTURE, published=None, **preprocessing):
    origin = Origin(family="ours", source="here", licence="MIT", checkpoint="x.pt", published=published or {})
    model = small_tokenizer(quantizer, architecture=architecture)
    save_tokenizer(folder, model, architecture, PreprocessingConfig(**preprocessing), "# small\n", origin=origin)
    return folder


def with_preprocessing(folder: Path, target: Path, **preprocessing: object) -> Path:
    """Copy a tokenizer folder with other preprocessing."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    config["preprocessing"] = PreprocessingConfig(**preprocessing).model_dump(mode="json")
    (target / "config.json").write_text(json.dumps(config))
    return target
