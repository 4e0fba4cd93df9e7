"""Images of a size that the quantizer takes no grid of are rows of failures; the others become tokens and images again."""

import json

import pytest
from PIL import Image

from samples import ARCHITECTURE, image_bytes, noise_image, small_tokenizer, stored_samples
from vistok.inference.tokenize.run import PREVIEW_FILE
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

SCALES = {"name": "multiscale", "scales": [1, 2, 4], "quantizer": {"name": "vq", "dim": 4, "codebook_size": 40}}
SIZES = {"wide": (64, 48), "high": (48, 64), "square": (60, 64), "refused": (184, 16)}
"""Width and height; a token has 8 x 8 pixels."""


@pytest.fixture
def multiscale(tmp_path):
    save_tokenizer(tmp_path / "model", small_tokenizer(SCALES), ARCHITECTURE, PreprocessingConfig(size="native"), "")
    return tmp_path / "model"


def test_scales_of_images_of_any_size_but_a_few(multiscale, tokenize, detokenize, tmp_path):
    (tmp_path / "in").mkdir()
    for index, (name, size) in enumerate(SIZES.items()):
        (tmp_path / "in" / f"{name}.png").write_bytes(image_bytes(noise_image(*size, seed=index), "PNG"))
    said = tokenize(tmp_path / "in", "--out", tmp_path / "out", "--preview", 9, model=multiscale)
    assert "3 tokenized, 1 failed" in said and (tmp_path / "out" / PREVIEW_FILE).exists()
    (shard,) = (tmp_path / "out").glob("*.tar")
    (failure,) = json.loads(shard.with_suffix(".json").read_text())["failures"]
    assert failure["key"] == "refused" and "got a grid of 2 x 23, which has 62 tokens" in failure["reason"]
    shapes = {sample.key: sample.tokens().shape for sample in stored_samples(shard)}
    assert shapes == {"wide": (1, 1, 62), "high": (1, 62, 1), "square": (1, 1, 84)}
    detokenize(tmp_path / "out", "--out", tmp_path / "back", model=multiscale)
    sizes = {}
    for path in (tmp_path / "back").rglob("*.png"):
        with Image.open(path) as image:
            sizes[path.stem] = image.size
    assert sizes == {name: size for name, size in SIZES.items() if name != "refused"}
