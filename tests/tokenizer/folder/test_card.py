"""The metadata of a card is what the hub reads."""

import pytest
from huggingface_hub import ModelCard

from samples import ARCHITECTURE
from vistok.pretrained.find import BUILT_IN
from vistok.pretrained.importers.table import IMPORTERS
from vistok.tokenizer.folder.card import with_metadata
from vistok.tokenizer.folder.config_json import Origin, TokenizerConfig
from vistok.tokenizer.quantizers.vector.quantizer import VQConfig

CONFIG = TokenizerConfig(architecture=ARCHITECTURE, quantizer=VQConfig(dim=4, codebook_size=8))


def metadata(config):
    return ModelCard(with_metadata("# name\n", config)).data.to_dict()


def test_a_tokenizer_of_ones_own_leaves_the_licence_to_its_owner():
    assert metadata(CONFIG) == {
        "library_name": "vistok",
        "pipeline_tag": "image-to-image",
        "tags": ["visual-tokenizer", "image-tokenizer", "vector-quantization", "vq"],
    }
    assert ModelCard(with_metadata("# name\n", CONFIG)).text.strip() == "# name"


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", {"license": "mit"}),
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("openrail++", {"license": "openrail++"}),
        ('Mine: "free" (€)', {"license": "other", "license_name": "mine-free", "license_link": "https://a.b/c"}),
    ],
)
def test_the_licence_is_named_as_the_hub_names_it(licence, expected):
    origin = Origin(family="f", source="https://a.b/c", licence=licence, checkpoint="c", repository="o/r@abc")
    found = metadata(CONFIG.model_copy(update={"origin": origin}))
    assert expected.items() <= found.items() and found["base_model"] == "o/r" and found["tags"][-1] == "f"


@pytest.mark.parametrize("family", IMPORTERS)
def test_the_licence_of_every_family_has_a_name(family):
    for importer in IMPORTERS[family]:
        origin = Origin(family=family, source=importer.source, licence=importer.licence, checkpoint="c")
        found = metadata(CONFIG.model_copy(update={"origin": origin}))
        assert found["license"] != "other" or found["license_name"]


def test_the_tokenizer_that_ships_has_metadata():
    data = ModelCard.load(BUILT_IN / "photo-f8" / "README.md").data
    assert (data.library_name, data.license, data.pipeline_tag) == ("vistok", "mit", "image-to-image")
