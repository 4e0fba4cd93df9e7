"""Sequences are those that the processors of transformers build for the same grid; each is made here, with a tiny tokenizer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vistok.sequences.layouts import Grid, build_layout
from vistok.sequences.layouts.glm import draft_grid
from vistok.sequences.loss_mask import IMAGE, kinds
from vistok.sequences.vocabulary import image_vocabulary, vocabulary_for

pytest.importorskip("transformers", reason="needs transformers: pip install 'vistok[hub-models]'")
trained_tokenizer = pytest.importorskip("tiny_tokenizers").trained_tokenizer
CODES = 64


def photo(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("grid", [(4, 4), (12, 5), (3, 112)])
def test_emu3(grid):
    emu3 = pytest.importorskip("transformers.models.emu3")
    named = {
        "image_token": "<image>",
        "boi_token": "<|image start|>",
        "eoi_token": "<|image end|>",
        "image_wrapper_token": "<|image token|>",
        "eof_token": "<|extra_201|>",
        "bos_token": "<|extra_203|>",
    }
    fast, text = trained_tokenizer(named, ["<|extra_200|>", *(f"<|visual token {code:06d}|>" for code in range(CODES))])
    images = emu3.image_processing_emu3.Emu3ImageProcessor(min_pixels=64, max_pixels=10**8)
    processor = emu3.processing_emu3.Emu3Processor(images, fast)
    theirs = processor(images=[photo(8 * grid[0], 8 * grid[1])], text="a photo<image>", return_tensors="pt")[
        "input_ids"
    ][0]
    tokens = torch.randint(CODES, (1, *grid))
    mapping = emu3.modeling_emu3.Emu3ImageVocabularyMapping(fast.get_vocab())
    theirs[theirs == text.id_of("<image>")] = mapping.convert_img2bpe(tokens[0]).flatten().to(theirs.dtype)

    roles = {
        "begin": "<|image start|>",
        "image": "<|image token|>",
        "row_end": "<|extra_200|>",
        "rows_end": "<|extra_201|>",
        "end": "<|image end|>",
    }
    vocabulary = vocabulary_for(text, CODES, 1, roles, image_name="<|visual token {code:06d}|>", max_side=128)
    layout = build_layout("emu3", vocabulary)
    assert [text.id_of("<|extra_203|>"), *text.encode("a photo"), *layout.ids(tokens).tolist()] == theirs.tolist()
    assert len(vocabulary.numbers.write(3, 112)) < len("3*112")  # the tokenizer joins digits

    prompt = processor(
        text="a photo", return_for_image_generation=True, ratio="1:2", image_area=8192, return_tensors="pt"
    )
    wanted = Grid(*prompt["image_sizes"][0])
    header = layout.slots(wanted).first[: layout.header_length(wanted)]
    assert prompt["input_ids"][0, -len(header) :].tolist() == header.tolist()


def test_emu35_has_no_row_end_after_the_last_row():
    """The published loop of Emu3.5 asks for a row end where a row is full, except after the last."""
    fast, text = trained_tokenizer({"b": "<b>", "i": "<i>", "r": "<r>", "s": "<s>", "e": "<e>"})
    roles = dict(
        zip(("begin", "image", "row_end", "rows_end", "end"), ("<b>", "<i>", "<r>", "<s>", "<e>"), strict=True)
    )
    layout = build_layout("emu3", vocabulary_for(text, CODES, 1, roles, max_side=9), last_row_end=False)
    ids = layout.ids(torch.arange(6).reshape(1, 2, 3)) - len(fast)
    assert ids[-9:].tolist() == [
        0,
        1,
        2,
        text.id_of("<r>") - len(fast),
        3,
        4,
        5,
        *(text.id_of(name) - len(fast) for name in ("<s>", "<e>")),
    ]


def test_chameleon():
    chameleon = pytest.importorskip("transformers.models.chameleon")

    def name(_, code):
        return "IMGIMG" + "".join(chr(ord("A") + int(digit)) for digit in str(code)) + "Z"

    named = {
        "image_token": "<image>",
        "boi_token": "<racm3:break>",
        "eoi_token": "<eoss>",
        "sep_token": "<reserved08706>",
    }
    fast, text = trained_tokenizer(named, [name(0, code) for code in range(CODES)])
    images = chameleon.image_processing_pil_chameleon.ChameleonImageProcessorPil()
    processor = chameleon.processing_chameleon.ChameleonProcessor(images, fast, image_seq_length=16)
    theirs = processor(images=[photo(40, 40)], text="a photo<image>", return_tensors="pt")["input_ids"][0]
    tokens = torch.randint(CODES, (1, 4, 4))
    mapping = chameleon.modeling_chameleon.ChameleonImageVocabularyMapping(fast.get_vocab())
    theirs[theirs == text.id_of("<image>")] = mapping.convert_img2bpe(tokens.flatten()).to(theirs.dtype)

    roles = {"begin": "<racm3:break>", "end": "<eoss>"}
    vocabulary = vocabulary_for(text, CODES, 1, roles, image_name=name, separator=None)
    ids = build_layout("chameleon", vocabulary).ids(tokens)
    assert [*text.encode("a photo"), *ids.tolist(), text.id_of("<reserved08706>")] == theirs.tolist()


def test_janus():
    """Janus has codes in a head of its own, so that the processor writes the same id for all."""
    janus = pytest.importorskip("transformers.models.janus")
    named = {"image_token": "<image_placeholder>", "boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>"}
    fast, text = trained_tokenizer(named)
    images = janus.image_processing_pil_janus.JanusImageProcessorPil()
    processor = janus.processing_janus.JanusProcessor(images, fast, num_image_tokens=9)
    theirs = processor(images=[photo(40, 40)], text="a photo<image_placeholder>", return_tensors="pt")["input_ids"][0]
    roles = {"begin": "<begin_of_image>", "end": "<end_of_image>"}
    vocabulary = vocabulary_for(text, CODES, 1, roles, separator=None)
    ids = torch.cat(
        [torch.tensor(text.encode("a photo")), build_layout("chameleon", vocabulary).ids(torch.zeros(1, 3, 3).long())]
    )
    placeholder = torch.tensor(text.id_of("<image_placeholder>"))
    assert torch.where(kinds(vocabulary, ids) == IMAGE, placeholder, ids).tolist() == theirs.tolist()


@pytest.mark.parametrize(("height", "width"), [(1152, 768), (512, 512), (320, 1280)])
def test_glm_image(height, width):
    glm = pytest.importorskip("transformers.models.glm_image")
    named = {
        "image_token": "<|image|>",
        "grid_bos_token": "<sop>",
        "grid_eos_token": "<eop>",
        "bos_token": "<|dit_token_16384|>",
    }
    fast, text = trained_tokenizer(named, ["<|dit_token_16385|>"])
    images = glm.image_processing_pil_glm_image.GlmImageImageProcessorPil()
    processor = glm.processing_glm_image.GlmImageProcessor(images, fast)
    roles = {"grid_begin": "<sop>", "grid_end": "<eop>", "begin": "<|dit_token_16384|>", "end": "<|dit_token_16385|>"}
    vocabulary = vocabulary_for(text, CODES, 1, roles, separator=" ", max_side=64)
    grid = Grid(height // 32, width // 32)
    for call, side in (({"text": "a photo"}, 16), ({"text": "a photo<|image|>", "images": [photo(64, 64)]}, 0)):
        theirs = processor(**call, target_h=height, target_w=width, return_tensors="pt")
        layout = build_layout("glm", vocabulary, draft_side=side)
        header = layout.slots(grid).first[: layout.header_length(grid)]
        assert theirs["input_ids"][0, -len(header) :].tolist() == header.tolist()
        assert theirs["image_grid_thw"][-2 if side else -1, 1:].tolist() == list(grid)
        assert not side or theirs["image_grid_thw"][-1, 1:].tolist() == list(draft_grid(grid))


@pytest.mark.parametrize(("codebooks", "grid"), [(4, (1, 5)), (2, (3, 3)), (1, (2, 2))])
def test_delays_are_those_of_musicgen(codebooks, grid):
    """Theirs are rows of codebooks with a pad before all; ours are its columns, one after another."""
    musicgen = pytest.importorskip("transformers.models.musicgen.modeling_musicgen")
    vocabulary = image_vocabulary(CODES, codebooks, ("pad",))
    pad = vocabulary["image"].structure["pad"]
    tokens = torch.randint(CODES, (codebooks, *grid))
    ids = tokens.flatten(1) + torch.tensor(vocabulary["image"].offsets)[:, None]
    model = SimpleNamespace(num_codebooks=codebooks, config=SimpleNamespace(audio_channels=1))
    prompt = torch.cat([torch.full((codebooks, 1), pad), ids], dim=1)
    _, theirs = musicgen.MusicgenForCausalLM.build_delay_pattern_mask(
        model, prompt, pad_token_id=pad, max_length=ids.shape[1] + codebooks
    )
    ours = build_layout("delayed", vocabulary, frame="none").ids(tokens)
    assert torch.equal(ours.reshape(-1, codebooks).T, theirs[:, 1:])
