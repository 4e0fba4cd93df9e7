"""A language model with a row for each new id: text keeps its bits, and what is new is distributed as text is."""

import copy
import dataclasses
from types import SimpleNamespace

import pytest
import torch

transformers = pytest.importorskip("transformers")

from causal_models import CODES, DIM, TEXT, gemma, gpt2, llama, phi, vocabulary  # noqa: E402
from vistok.language.code_vectors import code_vectors  # noqa: E402
from vistok.language.extend_model import MARK, extend_model  # noqa: E402
from vistok.language.extend_tokenizer import extend_tokenizer  # noqa: E402
from vistok.language.new_rows import projected_rows, statistics_of  # noqa: E402
from vistok.sequences.vocabulary import Vocabulary  # noqa: E402
from vistok.tokenizer.quantizers import build_quantizer  # noqa: E402

MODELS = {"llama": llama, "tied llama": lambda: llama(tied=True), "gpt2": gpt2, "gemma": gemma, "phi": phi}
TIED = {"tied llama", "gpt2", "gemma"}


@pytest.fixture(params=MODELS)
def kind(request):
    torch.manual_seed(0)
    return request.param, MODELS[request.param]().eval()


def weights_of(model):
    head = model.get_output_embeddings()
    return [model.get_input_embeddings().weight, head.weight, *([] if head.bias is None else [head.bias])]


def test_text_keeps_its_bits_and_ties_hold(kind):
    name, model = kind
    before = copy.deepcopy(model)
    rows = extend_model(model, vocabulary())
    ids = torch.randint(TEXT, (2, 12))
    for old, new in zip(weights_of(before), weights_of(model), strict=True):
        assert len(new) == 512 and torch.equal(new[:TEXT], old) and new.isfinite().all() and new.requires_grad
    assert (weights_of(model)[0] is weights_of(model)[1]) == (name in TIED)
    torch.testing.assert_close(model(ids).logits[..., :TEXT], before(ids).logits, rtol=1e-4, atol=1e-5)
    assert model.config.vocab_size == rows.total == 512 == model(ids).logits.shape[-1]
    assert model.get_input_embeddings().num_embeddings == model.get_output_embeddings().out_features == 512
    assert rows.new == (range(200, 500), range(500, 501), range(501, 502)) and rows.padding == tuple(range(502, 512))
    others = set(model.state_dict()) - {key for key, value in model.state_dict().items() if len(value) == 512}
    assert all(torch.equal(model.state_dict()[key], before.state_dict()[key]) for key in others)


def test_it_comes_back_from_disk(kind, tmp_path):
    model = kind[1]
    rows = extend_model(model, vocabulary())
    model.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(weights_of(loaded), weights_of(model), strict=True))
    ids = torch.randint(512, (1, 9))
    assert torch.equal(loaded.eval()(ids).logits, model(ids).logits)
    before = [weight.clone() for weight in weights_of(loaded)]
    assert extend_model(loaded, vocabulary(), seed=1) == rows
    assert all(torch.equal(one, other) for one, other in zip(weights_of(loaded), before, strict=True))
    with pytest.raises(
        ValueError, match="^The model was extended by another vocabulary before: extend the original mode"
    ):
        extend_model(loaded, vocabulary(codes=CODES - 1))


def test_padding_never_wins(kind):
    _, model = kind
    rows = extend_model(model, vocabulary())
    head, padding = model.get_output_embeddings(), list(rows.padding)
    logits = head(100 * torch.randn(1000, DIM))
    torch.testing.assert_close(logits[:, padding[0]], logits[:, :TEXT].mean(dim=-1), rtol=1e-3, atol=1e-3)
    assert not set(logits.argmax(dim=-1).tolist()) & set(padding)
    with torch.no_grad():
        for parameter in weights_of(model)[1:]:
            parameter[padding] = 100.0  # whatever training does
    drawn = model.generate(torch.tensor([[5, 6]]), do_sample=True, max_new_tokens=4, num_return_sequences=8)
    assert not set(drawn.flatten().tolist()) & set(padding)


def statistics(rows):
    rows = rows.detach().double()
    return rows.mean(dim=0), torch.cov(rows.T, correction=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_new_rows_have_the_mean_and_the_covariance_of_the_old_ones(dtype):
    torch.manual_seed(1)
    model = llama().to(dtype)
    with torch.no_grad():
        for scale, weight in zip((1.0, 0.1), weights_of(model), strict=True):
            weight.copy_(scale * (torch.randn(TEXT, DIM) @ torch.randn(DIM, DIM) + 3))
    extend_model(model, vocabulary(codes=40_000))
    for weight in weights_of(model):
        (mean, covariance), (drawn_mean, drawn) = statistics(weight[:TEXT]), statistics(weight[TEXT : TEXT + 40_000])
        deviation = covariance.diagonal().sqrt()
        assert ((drawn_mean - mean) / deviation).abs().max() < 5 / 40_000**0.5 + 0.004
        assert ((drawn - covariance) / torch.outer(deviation, deviation)).abs().max() < 0.05
        assert len(weight[TEXT:].unique(dim=0)) > 39_000
    embedding, head = weights_of(model)
    assert torch.corrcoef(torch.stack([embedding[TEXT:40_000, 0], head[TEXT:40_000, 0]]).float())[0, 1].abs() < 0.05


def test_a_bias_is_the_mean_of_that_of_text():
    model = phi()
    extend_model(model, vocabulary())
    bias = model.lm_head.bias
    assert torch.equal(bias[TEXT:], bias[:TEXT].mean().expand(312))


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_of_a_codebook_keep_its_geometry(seed):
    codes = torch.randn(CODES, 4)
    codes[2] = (codes[0] + codes[1]) / 2
    model = llama()
    extend_model(model, vocabulary(), codebook=codes, seed=seed)
    for weight in weights_of(model):
        rows = weight[TEXT : TEXT + CODES]
        torch.testing.assert_close(rows[2], (rows[0] + rows[1]) / 2, rtol=1e-4, atol=1e-5)
        (mean, covariance), (of_codes, drawn) = statistics(weight[:TEXT]), statistics(rows)
        torch.testing.assert_close(of_codes, mean, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(drawn.trace(), covariance.trace(), rtol=1e-4, atol=0)
        assert torch.linalg.matrix_rank(drawn, rtol=1e-5) == 4


def test_rows_of_a_codebook_have_about_the_covariance_of_text_on_average_over_projections():
    old = torch.randn(500, 6) * torch.linspace(0.5, 2, 6) + 1
    codes = torch.randn(64, 6) * torch.tensor([3.0, 2, 1, 1, 1, 1])
    target = statistics_of(old)
    generator = torch.Generator().manual_seed(0)
    drawn = [statistics(next(projected_rows(target, codes, generator)))[1] for _ in range(300)]
    (_, covariance), mean = statistics(old), torch.stack(drawn).mean(dim=0)
    off = mean - torch.diag(mean.diagonal())
    assert off.abs().max() < 0.15 * covariance.diagonal().max()
    assert ((mean.diagonal() / covariance.diagonal()).log().abs() < 0.4).all()


def test_several_codebooks():
    model = llama()
    codes = torch.randn(2, CODES, 4)
    codes[1] = codes[0]
    rows = extend_model(model, vocabulary(codebooks=2), codebook=codes)
    embedding = weights_of(model)[0]
    assert rows.total == 896 and rows.new[:2] == (range(200, 500), range(500, 800))
    assert not torch.allclose(embedding[200:500], embedding[500:800])  # each has a projection of its own
    assert rows.padding == tuple(range(802, 896))


def test_seeds_decide_and_the_callers_generator_does_not_move():
    torch.manual_seed(5)
    models = [llama()] + [None] * 2
    models[1:] = [copy.deepcopy(models[0]) for _ in range(2)]
    state = torch.get_rng_state()
    for model, seed in zip(models, (0, 0, 1), strict=True):
        extend_model(model, vocabulary(), seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    one, same, other = (weights_of(model)[1] for model in models)
    assert torch.equal(one, same) and not torch.equal(one[TEXT:500], other[TEXT:500])


def test_rows_that_were_padding_are_drawn_anew_and_others_stay():
    """As Qwen's: a text tokenizer of 190 ids, an embedding of 200."""
    model = llama()
    before = weights_of(model)[0].clone()
    rows = extend_model(model, vocabulary(text=190, codes=5), multiple_of=1)
    after = weights_of(model)[0]
    assert rows.total == 200 and rows.new[0] == range(190, 195) and rows.padding == (197, 198, 199)
    assert torch.equal(after[:190], before[:190]) and torch.equal(after[197:], before[197:])
    assert not (after[190:197] == before[190:197]).any()
    assert model.generation_config.suppress_tokens == [197, 198, 199]
    assert getattr(model.config, MARK) == [
        {"name": "image", "offsets": [190], "size": 5, "structure": {"begin": 195, "end": 196, "row_end": 3}}
    ]


def test_the_tokenizer_tells_a_vocabulary_of_another():
    small = pytest.importorskip("small_text_tokenizers")
    text, other = small.byte_level(), small.sentencepiece_bpe()
    rows = text.get_vocab_size()
    made = extend_tokenizer(text, 8, structure={"begin": "<b>"}, separator=None)
    with pytest.raises(ValueError, match="^The vocabulary was made with another text tokenizer"):
        extend_model(llama(vocab_size=rows), made, tokenizer=other)
    for tokenizer in (text, small.byte_level()):
        extend_model(llama(vocab_size=rows), made, tokenizer=tokenizer)


def test_names_of_tokens_are_not_of_the_model():
    model = llama()
    extend_model(model, vocabulary())
    kept = copy.deepcopy(model.config.to_dict())
    image = dataclasses.replace(vocabulary()["image"], names={"begin": "<b>"})
    extend_model(model, Vocabulary((vocabulary()["text"], image)))
    assert model.config.to_dict() == kept


def test_a_model_of_equal_rows_and_one_without_a_head():
    model = transformers.LlamaModel(llama().config)
    torch.nn.init.ones_(model.get_input_embeddings().weight)
    rows = extend_model(model, vocabulary())
    torch.testing.assert_close(model.get_input_embeddings().weight, torch.ones(rows.total, DIM))


FSQ = {"name": "fsq", "levels": [5, 4]}


@pytest.mark.parametrize("config", [FSQ, {"name": "residual", "quantizer": FSQ, "depth": 3}])
def test_the_codes_of_a_tokenizer(config):
    quantizer = build_quantizer(config).eval()
    tokenizer = SimpleNamespace(model=SimpleNamespace(quantizer=quantizer), device=torch.device("cpu"))
    vectors = code_vectors(tokenizer)
    assert len(vectors) == quantizer.num_codebooks
    tokens = torch.randint(quantizer.vocab_size, (1, quantizer.num_codebooks, 3, 3))
    summed = sum(codes[level] for codes, level in zip(vectors, tokens[0], strict=True))
    torch.testing.assert_close(summed.movedim(-1, 0)[None], quantizer.lookup(tokens))
