"""A Tokenizer is an ordinary object: it is copied, pickled, moved and shared as others are."""

import copy
import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import vistok
from encoding_dataset import IMAGE, EncodedImages
from samples import noise_image, small_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig


@pytest.fixture
def tokenizer(tokenizer_folder):
    return vistok.load(tokenizer_folder, device="cpu")


def clear(tokenizer):
    with torch.no_grad():
        for parameter in tokenizer.model.parameters():
            parameter.zero_()


def through_pickle(tokenizer):
    return pickle.loads(pickle.dumps(tokenizer))


def through_torch(tokenizer):
    buffer = io.BytesIO()
    torch.save(tokenizer, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle, through_torch])
def test_a_copy_is_equal_and_independent_both_ways(tokenizer, copied):
    tokens, images = tokenizer.encode(IMAGE), tokenizer.decode(tokenizer.encode(IMAGE), output="tensor")
    facts = (tokenizer.fingerprint, repr(tokenizer), tokenizer.device, tokenizer.config, tokenizer.batch_size)
    first, second = copied(tokenizer), copied(tokenizer)
    assert (first.fingerprint, repr(first), first.device, first.config, first.batch_size) == facts
    clear(first)
    assert (first.encode(IMAGE) != tokens).any() and first.fingerprint != tokenizer.fingerprint
    assert (first.decode(tokens, output="tensor") != images).any()
    assert torch.equal(tokenizer.encode(IMAGE), tokens) and torch.equal(second.encode(IMAGE), tokens)
    clear(tokenizer)
    assert torch.equal(second.encode(IMAGE), tokens)
    assert torch.equal(second.decode(tokens, output="tensor"), images)
    assert second.fingerprint == facts[0]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_a_data_loader_encode(tokenizer, method):
    tokens = tokenizer.encode(IMAGE)
    images = tokenizer.decode(tokens, output="tensor")
    loader = DataLoader(
        EncodedImages(tokenizer), num_workers=1, multiprocessing_context=method, batch_size=2, timeout=60
    )
    ((found, decoded),) = list(loader)
    assert torch.equal(found, tokens.repeat(2, 1, 1, 1)) and torch.equal(decoded, images.repeat(2, 1, 1, 1))


FORKED = """
import multiprocessing, sys, torch, vistok
tokenizer = vistok.load(sys.argv[1], device="cpu")
torch.set_num_threads(2)
images = torch.rand(4, 3, 16, 16)  # so small that torch itself starts no threads, which no fork survives
tokens = tokenizer.encode(images)  # starts threads, which a fork does not take along

def encode(results):
    results.put([(one.shape, one.sum().item()) for one in (tokenizer.encode(images), tokens)])

context = multiprocessing.get_context("fork")
results = context.Queue()
process = context.Process(target=encode, args=(results,), daemon=True)
process.start()
found, expected = results.get(timeout=60)
process.join(60)
assert found == expected and process.exitcode == 0
assert torch.equal(tokenizer.encode(images), tokens)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_after_threads_were_started_encodes(tokenizer_folder):
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(tokenizer_folder)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr


def test_a_changed_weight_shows_in_tokens_and_fingerprint(tokenizer):
    tokens, before = tokenizer.encode(IMAGE), tokenizer.fingerprint
    weight = tokenizer.model.encoder.conv_in.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.neg_()
    assert (tokenizer.encode(IMAGE) != tokens).any() and tokenizer.fingerprint != before
    with torch.no_grad():
        weight.copy_(kept)
    assert torch.equal(tokenizer.encode(IMAGE), tokens) and tokenizer.fingerprint == before
    tokenizer.model.load_state_dict(small_tokenizer(seed=1).state_dict())
    changed = tokenizer.fingerprint
    tokenizer.model.load_state_dict(small_tokenizer(seed=2).state_dict(), assign=True)
    assert len({before, changed, tokenizer.fingerprint}) == 3


def test_a_decoder_may_change_without_another_fingerprint(tokenizer):
    before = tokenizer.fingerprint
    with torch.no_grad():
        tokenizer.model.decoder.conv_in.weight.neg_()
    assert tokenizer.fingerprint == before


def test_inference_mode_copies_have_a_fingerprint(tokenizer):
    with torch.inference_mode():
        other = copy.deepcopy(tokenizer)
        assert other.fingerprint == tokenizer.fingerprint
        clear(other)
        assert other.fingerprint != tokenizer.fingerprint
    assert (other.encode(IMAGE) != tokenizer.encode(IMAGE)).any()


def test_other_preprocessing_shares_the_model_and_hashes_when_asked(tokenizer, monkeypatch):
    hashed = []
    monkeypatch.setattr(
        "vistok.tokenizer.folder.fingerprint.fingerprint", lambda *args: hashed.append(args) or "f" * 64
    )
    others = [tokenizer.with_preprocessing(PreprocessingConfig(size=size)) for size in (32, 64, 32)]
    assert all(other.model is tokenizer.model for other in others) and hashed == []
    assert tokenizer.config.preprocessing.size == 64 and others[0].encode(noise_image(80, 90)).shape == (1, 1, 4, 4)
    assert [other.fingerprint for other in others * 2] == ["f" * 64] * 6 and len(hashed) == 2


def test_to_moves_the_tokenizer_itself(tokenizer):
    assert tokenizer.to("cpu") is tokenizer and tokenizer.device == torch.device("cpu")
    with pytest.raises(ValueError, match=r"Device 'meta' cannot be used on this machine: use cpu"):
        tokenizer.to("meta")
    assert tokenizer.encode(IMAGE).device == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_has_the_same_tokens_and_keeps_them(tokenizer):
    tokens, images = tokenizer.encode(IMAGE), tokenizer.decode(tokenizer.encode(IMAGE), output="tensor")
    tokenizer.to("cuda")
    found = tokenizer.encode(IMAGE)
    assert found.device.type == tokenizer.device.type == "cuda" and torch.equal(found.cpu(), tokens)
    assert torch.equal(tokenizer.encode(IMAGE.cuda()), found)
    for given in (found, tokens, tokens.numpy()):
        decoded = tokenizer.decode(given, output="tensor")
        assert decoded.device.type == "cuda" and torch.allclose(decoded.cpu(), images, atol=1e-4)
    assert torch.equal(tokenizer.to("cpu").encode(IMAGE), tokens)


def test_auto_takes_a_gpu_where_there_is_one(tokenizer_folder):
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert vistok.load(tokenizer_folder).device.type == expected
    assert vistok.load(tokenizer_folder, device="auto").device.type == expected


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.int64, torch.uint8, torch.int16, torch.uint16])
def test_tokens_of_any_whole_number_decode(tokenizer, kind):
    tokens = tokenizer.encode(IMAGE) % 256
    given = tokens.to(kind) if isinstance(kind, torch.dtype) else tokens.numpy().astype(kind)
    assert torch.equal(tokenizer.decode(given, output="tensor"), tokenizer.decode(tokens, output="tensor"))


def test_many_images_keep_their_order_and_are_what_each_is_alone(tokenizer):
    images = torch.rand(70, 3, 16, 16)
    tokens = tokenizer.encode(list(images))
    assert torch.equal(tokens, torch.cat([tokenizer.encode(image) for image in images]))
    decoded = tokenizer.decode(tokens, output="tensor")
    assert torch.equal(decoded, torch.cat([tokenizer.decode(one, output="tensor") for one in tokens.split(1)]))
    assert [image.size for image in tokenizer.decode(tokens)] == [(16, 16)] * 70


def test_images_of_one_shape_go_through_together(tokenizer, monkeypatch):
    seen = []
    real = type(tokenizer).start_encoding
    monkeypatch.setattr(type(tokenizer), "start_encoding", lambda self, x: seen.append(len(x)) or real(self, x))
    tokenizer.encode([*torch.rand(5, 3, 16, 16), torch.rand(3, 3, 16, 16)])
    assert seen == [8]


@pytest.mark.parametrize("size", [0, -3, 2.5, "auto", True])
def test_a_batch_has_at_least_one_image(tokenizer_folder, size):
    told = rf"^batch_size is {size!r}, but must be a whole number of at least 1, or None for the default\.$"
    with pytest.raises(ValueError, match=told):
        vistok.load(tokenizer_folder, batch_size=size)
    assert vistok.load(tokenizer_folder, batch_size=3).batch_size == 3
