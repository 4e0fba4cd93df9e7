import pytest
import torch

from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.model import build_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.tokenizer.quantizers import QUANTIZERS
from vistok.train.config import ModelConfig
from vistok.train.warm_start import starting_model


def config(folder, **more):
    quantizer = parse_choice(QUANTIZERS, {"name": "simvq", "dim": 4, "codebook_size": 16}, "quantizer")
    return ModelConfig(architecture=ARCHITECTURE, quantizer=quantizer, init_from=folder, **more)


def test_weights_of_the_same_name_and_shape_are_taken(tmp_path):
    source = small_tokenizer({"name": "vq", "dim": 4, "codebook_size": 300}, seed=3)
    save_tokenizer(tmp_path, source, ARCHITECTURE, PreprocessingConfig(), "# card\n")
    model = starting_model(config(tmp_path))
    taken = {name for name, value in source.state_dict().items() if not name.startswith("quantizer.")}
    assert taken and all(torch.equal(model.state_dict()[name], source.state_dict()[name]) for name in taken)
    assert model.quantizer.vocab_size == 16, "the quantizer is the new one, started fresh"


def test_a_wider_latent_changes_nothing_at_first(tmp_path):
    bare = ARCHITECTURE.model_copy(update={"quantizer_convolutions": False})
    source = build_tokenizer(bare, parse_choice(QUANTIZERS, {"name": "fsq", "levels": [5] * 8}, "quantizer")).eval()
    save_tokenizer(tmp_path, source, bare, PreprocessingConfig(), "# card\n")
    wider = ModelConfig(
        architecture=bare.model_copy(update={"latent_channels": 10}),
        quantizer=parse_choice(QUANTIZERS, {"name": "fsq", "levels": [5] * 10}, "quantizer"),
        init_from=tmp_path,
    )
    model = starting_model(wider).eval()
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.allclose(model(pixels).pixels, source(pixels).pixels, atol=1e-5)
    assert torch.allclose(model.encode_latent(pixels)[:, :8], source.encode_latent(pixels), atol=1e-5)
    assert model.encode_latent(pixels)[:, 8:].abs().sum() > 0, "the new channels are there"


def test_a_tokenizer_with_nothing_in_common_is_refused(tmp_path):
    save_tokenizer(tmp_path, small_tokenizer(), ARCHITECTURE, PreprocessingConfig(), "# card\n")
    with pytest.raises(ValueError, match="is not a tokenizer folder"):
        starting_model(config(tmp_path / "nowhere"))
    smaller = ARCHITECTURE.model_copy(
        update={
            "stem": 1,
            "latent_channels": 2,
            "encoder": ARCHITECTURE.encoder.model_copy(update={"channels": [2, 2]}),
            "decoder": ARCHITECTURE.decoder.model_copy(update={"channels": [2, 2]}),
        }
    )
    quantizer = parse_choice(QUANTIZERS, {"name": "simvq", "dim": 3, "codebook_size": 16}, "quantizer")
    with pytest.raises(ValueError, match="has no weight that fits into one of this model"):
        starting_model(ModelConfig(architecture=smaller, quantizer=quantizer, init_from=tmp_path))
