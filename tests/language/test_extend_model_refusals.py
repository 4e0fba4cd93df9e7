"""What a language model cannot be extended by, or that cannot be extended, is one sentence, and nothing is changed."""

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("transformers")

from causal_models import DIM, TEXT, llama, vocabulary
from vistok.language.extend_model import MARK, extend_model
from vistok.sequences.modality import Modality
from vistok.sequences.vocabulary import Vocabulary, image_vocabulary


def of_zero():
    model = llama()
    model.get_input_embeddings().weight.ds_id = 0
    return model


def on_meta():
    with torch.device("meta"):
        return llama()


def in_int8():
    model = llama()
    model.lm_head.weight = torch.nn.Parameter(torch.zeros(TEXT, DIM, dtype=torch.int8), requires_grad=False)
    return model


NOT_WHOLE = (
    r"^The model's embedding or head is not whole in memory here \(on the meta device, or shared among processes by Z"
)
SHAPES = r"^The codebooks have the shapes \[\(300, 4\), \(300, 4\)\], but the vocabulary needs 1 codebook of 300 x c\."


@pytest.mark.parametrize(
    ("make", "vocabulary", "options", "message"),
    [
        (on_meta, vocabulary(), {}, NOT_WHOLE),
        (of_zero, vocabulary(), {}, NOT_WHOLE),
        (
            in_int8,
            vocabulary(),
            {},
            r"^The model's embedding or head is quantized \(torch.int8\): extend the model before it",
        ),
        (
            lambda: SimpleNamespace(),
            vocabulary(),
            {},
            "^SimpleNamespace cannot be extended: give a causal language model of",
        ),
        (llama, vocabulary(), {"multiple_of": 0}, "^multiple_of is 0, but must be an integer from 1 on"),
        (
            llama,
            image_vocabulary(8),
            {},
            "^The vocabulary has no text, so that there is no language model to extend: build a",
        ),
        (
            llama,
            Vocabulary((Modality("image", (0,), 50), Modality("text", (50,), 150))),
            {},
            "^The vocabulary has image ids from 0 on, before the end of its text at 200: they would take rows of the model; m",
        ),
        (
            llama,
            vocabulary(text=201),
            {},
            "^The model's embedding has 200 rows, but the vocabulary's text has ids up to 200:",
        ),
        (llama, vocabulary(), {"codebook": torch.ones(2, 300, 4)}, SHAPES),
        (
            llama,
            vocabulary(),
            {"codebook": torch.ones(300, 4)},
            "^A codebook has codes that are not finite, or all equal: dr",
        ),
        (
            lambda: llama(vocab_size=1400),
            vocabulary(),
            {},
            "^The model's embedding has 1200 rows behind the 200 of the vocabulary's text, which are too many for padding: t",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_changes_nothing(make, vocabulary, options, message):
    model = make()
    with pytest.raises(ValueError, match=message):
        extend_model(model, vocabulary, **options)
    assert not hasattr(getattr(model, "config", None), MARK)
