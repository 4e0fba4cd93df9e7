"""The plain loop paints with any model: each code is drawn from the model's logits after everything before it."""

import pytest
import torch

from small_layouts import PAD, small_cases
from vistok.sequences.constraint import (
    CachedModel,
    Guidance,
    ImageConstraint,
    draw,
    filter_logits,
    generate_images,
    guided,
)

CASES = small_cases()


class Model:
    """Logits that depend on all ids seen, through random embeddings; its state is their sum."""

    def __init__(self, size, seed=0):
        self.embedding = torch.randn(size, size, generator=torch.Generator().manual_seed(seed))
        self.calls = []

    def __call__(self, ids, state):
        self.calls.append(ids.clone())
        weights = 0.5 ** torch.arange(ids.shape[1] - 1, -1, -1.0)
        new = (self.embedding[ids] * weights[:, None]).sum(1)
        state = new if state is None else state * 0.5 ** ids.shape[1] + new
        return state, state


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_each_code_is_drawn_after_all_ids_before_it(name, guidance):
    layout, grid = CASES[name].layout, CASES[name].grids[1]
    size = layout.vocabulary.size + 2
    prompts, unconditional = torch.tensor([[3, 4], [5, 6], [7, 8]]), torch.tensor([PAD, 9])
    options = {"temperature": 1.3, "top_k": 5, "top_p": 0.9}
    generator = torch.Generator().manual_seed(4)
    pairs = {} if guidance == 1 else {"guidance": guidance, "unconditional": unconditional}
    model = Model(size)
    tokens = generate_images(model, layout, grid, prompts, generator=generator, **options, **pairs)

    ids = layout.ids(tokens, grid)
    generator = torch.Generator().manual_seed(4)
    slots = layout.slots(grid)
    for position in range(len(slots.first)):
        first, choices = int(slots.first[position]), int(slots.size[position])
        if choices > 1:  # a fresh model sees all ids at once
            window = slice(first, first + choices)
            logits = Model(size)(torch.cat([prompts, ids[:, :position]], 1), None)[0][:, window]
            if guidance != 1:
                before = torch.cat([unconditional.expand(3, -1), ids[:, :position]], 1)
                logits = guided(logits, Model(size)(before, None)[0][:, window], guidance)
            drawn = draw(filter_logits(logits, **options), generator)
            assert torch.equal(ids[:, position], first + drawn)
    assert len(model.calls) == int((slots.size > 1).sum())


def test_it_paints_what_generate_does():
    """After prompts of different lengths, with guidance and without."""
    transformers = pytest.importorskip("transformers")
    layout, grid = CASES["emu3"].layout, (3, 4)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=57, initializer_range=0.5, pad_token_id=PAD, **sizes)
    llama = transformers.LlamaForCausalLM(config).eval()
    prompts, unconditional = torch.tensor([[PAD, 4, 5], [6, 7, 8]]), torch.tensor([[PAD, PAD, 9], [PAD, PAD, 9]])

    def generate(prompts, *processors):
        return llama.generate(
            prompts,
            attention_mask=(prompts != PAD).long(),
            logits_processor=[*processors, ImageConstraint(layout, grid, start=3)],
            max_new_tokens=layout.length(grid),
            do_sample=False,
        )

    model = CachedModel(llama, pad=PAD)
    plain = generate_images(model, layout, grid, prompts, top_k=1)
    assert torch.equal(layout.tokens(generate(prompts)[:, 3:]), plain)
    painted = generate_images(model, layout, grid, prompts, top_k=1, guidance=3.0, unconditional=unconditional)
    pairs = generate(torch.cat([prompts, unconditional]), Guidance(3.0))
    assert torch.equal(layout.tokens(pairs[:2, 3:]), painted)
    assert not torch.equal(plain, painted)


@pytest.mark.parametrize(
    ("prompts", "options", "sentence"),
    [
        (
            torch.zeros(3),
            {},
            r"^prompts have the shape \(3,\), but must be b n, with at least one id for the model to begin",
        ),
        (torch.zeros(3, 0), {}, r"^prompts have the shape \(3, 0\), but must be b n"),
        (
            torch.zeros(1, 2),
            {"guidance": 3.0},
            r"^guidance is 3\.0, without unconditional prompts, but 1 takes none and every other scale needs them\.$",
        ),
        (
            torch.zeros(1, 2),
            {"unconditional": torch.zeros(2)},
            r"^guidance is 1\.0, with unconditional prompts, but 1 takes none",
        ),
        (
            torch.zeros(1, 2),
            {"guidance": -1.0, "unconditional": torch.zeros(2)},
            r"^The guidance scale is -1\.0, but must be a number from 0 up",
        ),
        (
            torch.zeros(1, 2),
            {"guidance": 3.0, "unconditional": torch.zeros(3)},
            r"^unconditional prompts have the shape \(3,\) and prompts \(1, 2\), but there must be one, or one for",
        ),
        (
            torch.zeros(3, 2),
            {"guidance": 3.0, "unconditional": torch.zeros(2, 2)},
            r"^unconditional prompts have the shape \(2, 2\) and prompts \(3, 2\), but there must be one, or one for each",
        ),
    ],
)
def test_prompts_that_do_not_fit(prompts, options, sentence):
    options = {name: value.long() if torch.is_tensor(value) else value for name, value in options.items()}
    with pytest.raises(ValueError, match=sentence):
        generate_images(Model(60), CASES["emu3"].layout, (2, 3), prompts.long(), **options)


def test_logits_that_do_not_hold_the_codes():
    sentence = r"^The model returned logits of the shape \(1, 50\), but they must be b v, with v of at least 57\.$"
    with pytest.raises(ValueError, match=sentence):
        generate_images(
            lambda ids, _: (torch.zeros(1, 50), None), CASES["emu3"].layout, (2, 3), torch.zeros(1, 2).long()
        )


def test_a_grid_that_cannot_be_written():
    with pytest.raises(
        ValueError, match=r"^The grid 2 x 99 cannot be written: the vocabulary spells numbers from 1 to 12"
    ):
        generate_images(Model(60), CASES["emu3"].layout, (2, 99), torch.zeros(1, 2).long())


def test_what_is_no_grid():
    with pytest.raises(
        ValueError, match=r"^The grid is \(3,\), but must be Grid\(y, x\) with at least one row and one column"
    ):
        generate_images(Model(60), CASES["emu3"].layout, (3,), torch.zeros(1, 2).long())
