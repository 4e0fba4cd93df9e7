"""`generate` of a tiny Llama with random weights, in all of its modes."""

import re
from pathlib import Path

import pytest
import torch

from small_layouts import BOS, EOS, PAD, small_cases
from vistok.sequences.constraint import CachedUnconditional, Guidance, ImageConstraint, PairedDraw, guided

transformers = pytest.importorskip("transformers")
LAYOUT = small_cases()["emu3"].layout
BEGIN = LAYOUT.image.structure["begin"]
GRIDS = [(2, 3), (3, 2)]
PROMPTS = torch.tensor([[PAD, PAD, BOS, 5, BEGIN], [BOS, 4, 5, 6, BEGIN]])
UNCONDITIONAL = torch.tensor([BOS, BEGIN])
START = PROMPTS.shape[1] - 1
LENGTH = LAYOUT.length(GRIDS[0])
MODES = {
    "greedy": {},
    "sampling": {"do_sample": True, "top_k": 0},
    "top-k and top-p": {"do_sample": True, "top_k": 5, "top_p": 0.9, "temperature": 0.7},
    "several": {"do_sample": True, "num_return_sequences": 3},
    "beams": {"num_beams": 3},
    "sampled beams": {"num_beams": 4, "do_sample": True, "num_return_sequences": 2},
    "without cache": {"use_cache": False},
    "static cache": {"cache_implementation": "static"},
}


@pytest.fixture(scope="module")
def model():
    config = transformers.LlamaConfig(
        vocab_size=64,  # seven rows more than the vocabulary
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        initializer_range=0.5,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(config).eval()


def generate(model, processors, prompts=PROMPTS, new=LENGTH + 2, **options):
    torch.manual_seed(1)
    options = {"do_sample": False, **options}
    mask = (prompts != PAD).long()
    return model.generate(prompts, attention_mask=mask, logits_processor=processors, max_new_tokens=new, **options)


def images(ids, start=START, grids=GRIDS):
    """Return the tokens of the image of each row, which ends as it must."""
    each = len(ids) // len(grids)
    found = []
    for index, row in enumerate(ids):
        grid = grids[index // each]
        end = start + LAYOUT.length(grid)
        found.append(LAYOUT.tokens(row[start:end]))
        assert LAYOUT.read_grid(row[start:]) == grid
        assert row[end : end + 1].tolist() in ([EOS], []) and (row[end + 1 :] == PAD).all()
    return found


@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
@pytest.mark.parametrize("start", [None, START], ids=["after begin", "from start"])
def test_images_of_different_grids_after_prompts_of_different_lengths(model, options, start):
    ids = generate(model, [ImageConstraint(LAYOUT, GRIDS, start=start)], **options)
    assert torch.equal(ids[:: len(ids) // 2, : START + 1], PROMPTS)
    images(ids)


@pytest.mark.parametrize("allowed", [{"grid": GRIDS[0]}, {"max_grid": (3, 3)}], ids=["grid given", "grid written"])
@pytest.mark.parametrize("start", [None, START], ids=["after begin", "from start"])
def test_drafts_that_are_refused_and_written_again(model, allowed, start):
    """Assisted generation and prompt lookup take ids back, and find what greedy search finds."""
    greedy = generate(model, [ImageConstraint(LAYOUT, start=start, **allowed)], PROMPTS[1:], 30)
    for options in ({"prompt_lookup_num_tokens": 3}, {"assistant_model": model}):
        drafted = generate(model, [ImageConstraint(LAYOUT, start=start, **allowed)], PROMPTS[1:], 30, **options)
        assert torch.equal(drafted, greedy)


@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
def test_the_model_writes_the_grid(model, options):
    ids = generate(model, [ImageConstraint(LAYOUT, max_grid=(3, 3))], new=30, **options)
    images(ids, grids=[LAYOUT.read_grid(row[START:]) for row in ids])


def test_a_prompt_that_ends_inside_an_image(model):
    """Going on from any position of a greedy image gives that image."""
    whole = generate(model, [ImageConstraint(LAYOUT, GRIDS[0])], PROMPTS[1:])
    for length in (START + 1, START + 3, START + 6, START + LENGTH):
        for options in ({}, {"start": START}):
            constraint = ImageConstraint(LAYOUT, GRIDS[0], **options)
            again = generate(model, [constraint], whole[:, :length], whole.shape[1] - length)
            assert torch.equal(again, whole)


def test_text_and_images_in_one_sequence(model):
    """Free text first; the model's own wish to begin an image is made strong here."""

    def wish(_ids, scores):
        scores[:, BEGIN] += 3
        return scores

    ids = generate(
        model, [wish, ImageConstraint(LAYOUT, GRIDS[0], then="text", eos=60)], PROMPTS[:, :4], 80, do_sample=True
    )
    for row in ids:
        begins = (row == BEGIN).nonzero()[:, 0].tolist()
        assert len(begins) > 1
        for begin in begins:
            if begin + LENGTH <= len(row):
                LAYOUT.tokens(row[begin : begin + LENGTH])


def without_cache(model, prompt, prompt_length):
    """Return unconditional logits that are computed anew each time."""

    def logits(ids):
        ids = torch.cat([prompt.expand(len(ids), -1), ids[:, prompt_length:]], dim=1)
        return model(ids).logits[:, -1]

    return logits


@torch.no_grad()
def test_guidance_with_a_cache_is_guidance_without_one(model):
    """Also with beams, whose rows swap, and with one object for all of them."""
    cached = Guidance(3.0, CachedUnconditional(model, UNCONDITIONAL, PROMPTS.shape[1]))
    anew = Guidance(3.0, without_cache(model, UNCONDITIONAL, PROMPTS.shape[1]))
    for name in ("greedy", "several", "beams", "sampled beams"):
        results = [
            generate(model, [guidance, ImageConstraint(LAYOUT, GRIDS)], **MODES[name]) for guidance in (cached, anew)
        ]
        assert torch.equal(*results), name
        images(results[0])
    plain = generate(model, [ImageConstraint(LAYOUT, GRIDS)], **MODES["sampled beams"])
    assert not torch.equal(results[0], plain)


@torch.no_grad()
def test_guidance_after_the_constraint_where_sampled_beams_are_given_up(model):
    """A beam that was drawn with probability 0 may have an image of no allowed grid."""
    for scale in (1.5, 3.0, 6.0):
        guidance = Guidance(scale, CachedUnconditional(model, UNCONDITIONAL, START))
        processors = [ImageConstraint(LAYOUT, max_grid=(3, 3), start=START), guidance]
        ids = generate(model, processors, PROMPTS[:, :START], 30, num_beams=2, do_sample=True)
        images(ids, grids=[LAYOUT.read_grid(row[START:]) for row in ids])


@torch.no_grad()
def test_guided_scores_step_by_step(model):
    """Greedy, by hand: two whole forward passes for each id."""
    guidance = Guidance(3.0, CachedUnconditional(model, UNCONDITIONAL, 5))
    ids = generate(model, [guidance, ImageConstraint(LAYOUT, GRIDS[0])], PROMPTS[1:])
    slots = LAYOUT.slots(GRIDS[0])
    row = PROMPTS[1]
    for first, size, _ in list(zip(*slots, strict=True))[1:]:
        conditional = model(row[None]).logits[0, -1]
        unconditional = model(torch.cat([UNCONDITIONAL, row[5:]])[None]).logits[0, -1]
        window = (unconditional + 3 * (conditional - unconditional))[first : first + size]
        row = torch.cat([row, first + window.argmax(keepdim=True)])
    assert torch.equal(ids[0, : len(row)], row)


def test_each_prompt_may_have_its_own_unconditional_prompt_with_padding(model):
    """A row with padding gives what it gives without."""
    padded = CachedUnconditional(
        model, torch.tensor([[PAD, BOS, 3], [BOS, 4, 3]]), 5, torch.tensor([[0, 1, 1], [1, 1, 1]])
    )
    alone = [CachedUnconditional(model, torch.tensor(prompt), 5) for prompt in ([BOS, 3], [BOS, 4, 3])]
    for length in range(5, 9):
        ids = torch.arange(40).reshape(4, 10)[:, :length] % 57
        rows = torch.cat([alone[0](ids[:2]), alone[1](ids[2:])])
        assert torch.allclose(padded(ids), rows, atol=1e-5)


def test_pairs_of_rows_in_one_batch(model):
    """Conditional rows, then unconditional ones: greedy is as with a callable; drawn in pairs, both go on with the same ids."""
    unconditional = torch.tensor([[PAD, PAD, PAD, BOS, BEGIN]]).expand(2, -1)
    pairs = torch.cat([PROMPTS, unconditional])
    constraint = ImageConstraint(LAYOUT, [*GRIDS, *GRIDS])
    ids = generate(model, [constraint, Guidance(3.0)], pairs)
    callable_ids = generate(
        model, [Guidance(3.0, CachedUnconditional(model, UNCONDITIONAL, 5)), ImageConstraint(LAYOUT, GRIDS)]
    )
    assert torch.equal(ids[:2], callable_ids)
    drawn = [
        generate(
            model, [constraint, Guidance(3.0), PairedDraw(0.9, 6, 0.95, torch.Generator().manual_seed(seed))], pairs
        )
        for seed in (0, 0, 1)
    ]
    for each in (ids, *drawn):
        assert torch.equal(each[:2, 5:], each[2:, 5:])
        images(each[:2])
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_beams_add_up_guided_log_probabilities(model):
    """The score that `generate` reports is the sum of guided log probabilities over allowed ids."""
    guidance = Guidance(2.0, CachedUnconditional(model, UNCONDITIONAL, 5))
    out = generate(
        model,
        [guidance, ImageConstraint(LAYOUT, GRIDS[0], then="pad")],
        PROMPTS[1:],
        LENGTH - 1,
        num_beams=3,
        length_penalty=0.0,
        return_dict_in_generate=True,
        output_scores=True,
    )
    ids = out.sequences
    with torch.no_grad():
        conditional = model(ids).logits[0, 4:-1]
        unconditional = model(torch.cat([UNCONDITIONAL[None], ids[:, 5:]], 1)).logits[0, 1:-1]
    total = guided(conditional, unconditional, 2.0).gather(1, ids[0, 5:, None]).sum()
    assert out.sequences_scores.item() == pytest.approx(total.item(), rel=1e-4)


def test_unconditional_prompts_that_do_not_fit(model):
    with pytest.raises(
        ValueError, match=r"^The unconditional prompt has the shape \(0,\), but must be n or p n, with at least"
    ):
        CachedUnconditional(model, torch.tensor([]), 5)
    sentence = r"^There are 3 rows for 2 unconditional prompts, but each prompt must have as many rows: give one prompt, or one"
    with pytest.raises(ValueError, match=sentence):
        CachedUnconditional(model, torch.zeros(2, 3, dtype=torch.int64), 5)(torch.zeros(3, 5, dtype=torch.int64))


def test_what_the_page_shows_runs(model):
    """The blocks of docs/sampling.md that need transformers, with a tokenizer of words."""
    tokenizers = pytest.importorskip("tokenizers")
    words = {"<bos>": BOS, "<eos>": EOS, "<pad>": PAD, "<unk>": 3, "a": 4, "red": 5, "house": 6, "tree": 7, "lake": 8}
    words_alone = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    words_alone.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    text = transformers.PreTrainedTokenizerFast(tokenizer_object=words_alone, **special)
    names = {"torch": torch, "text": text, "model": model, "layout": LAYOUT}
    page = (Path(__file__).parents[3] / "docs" / "sampling.md").read_text()
    blocks = re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "sampling.md", "exec"), names)
        ids, start = names["ids"], names["start"]
        assert LAYOUT.tokens(ids[:, start : start + LAYOUT.length((4, 6))]).shape[1:] == (1, 4, 6)
    assert names["tokens"].shape == (2, 1, 4, 6)
