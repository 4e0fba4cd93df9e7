"""A small tokenizer, images, and a fine-tuning of the one on the others."""

import pytest
from PIL import Image

from runs import SWAP, finetune
from samples import ARCHITECTURE, PHOTOS, small_tokenizer
from vistok.evaluation import reference_metrics, reference_weights
from vistok.tokenizer.config import ConfigError
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig


def refuse(*_):
    raise ConfigError("There are no weights here.")


def be_offline(patch):
    """Stand for a machine without a network, and without weights for LPIPS and rFID."""
    patch.setattr(reference_weights, "is_reachable", lambda url: False)
    patch.setattr(reference_weights.torch.hub, "get_dir", lambda: "no cache")
    patch.setattr(reference_metrics, "build_perceptual", refuse)
    patch.setattr(reference_metrics, "load_inception", refuse)


@pytest.fixture(scope="session")
def offline():
    """The function that does so, for what lives longer than a test."""
    return be_offline


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    be_offline(monkeypatch)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Eight images: photos and their mirrors."""
    folder = tmp_path_factory.mktemp("photos")
    for path in sorted(PHOTOS.glob("*.jpg")):
        image = Image.open(path).resize((64, 64))
        image.save(folder / path.name)
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / f"mirror-{path.name}")
    return folder


@pytest.fixture(scope="session")
def fsq_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fsq")
    model = small_tokenizer({"name": "fsq", "levels": [8, 8, 8]})
    save_tokenizer(folder, model, ARCHITECTURE, PreprocessingConfig(size=64), "# fsq\n")
    return folder


@pytest.fixture(scope="session")
def whole(fsq_folder, photos, tmp_path_factory):
    """A folder with a swap that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        be_offline(patch)
        finetune(fsq_folder, photos, folder, *SWAP)
    return folder
