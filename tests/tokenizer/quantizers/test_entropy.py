"""Entropies of soft assignments against dense float64, and the memory that they take."""

import json
import os
import subprocess
import sys

import pytest
import torch

from vistok.tokenizer.quantizers import entropy
from vistok.tokenizer.quantizers.entropy import assignment_entropies
from vistok.tokenizer.quantizers.search.nearest import scores

MEMORY = """
import json, resource, torch
from vistok.tokenizer.quantizers.entropy import assignment_entropies
from vistok.tokenizer.quantizers.search.nearest import scores
from vistok.tokenizer.quantizers import entropy
torch.set_num_threads(1)
entropy.SCORES_AT_ONCE = 2 * 262_144
vectors, codes = torch.randn(256, 2, requires_grad=True), torch.randn(262_144, 2, requires_grad=True)
def work(rows):
    found = assignment_entropies(rows, codes, lambda z, c: scores(z, c, "euclidean"), 1.0)
    sum(found.values()).backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([work(vectors[:32]), work(vectors)]))
"""


def both(vectors, codes, similarity, temperature):
    result = assignment_entropies(vectors, codes, lambda z, c: scores(z, c, similarity), temperature)
    return result["sample_entropy"], -result["codebook_entropy"]


def dense(vectors, codes, similarity, temperature):
    squared = (vectors.unsqueeze(1) - codes).square().sum(dim=2)
    logits = vectors @ codes.T if similarity == "dot" else -squared
    p = torch.softmax(logits / temperature, dim=1)
    mean = p.mean(dim=0)
    return -(p * p.clamp_min(1e-300).log()).sum(dim=1).mean(), -(mean * mean.clamp_min(1e-300).log()).sum()


@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
@pytest.mark.parametrize("at_once", [20, 90, 10**6])
@pytest.mark.parametrize(("offset", "temperature"), [(0.0, 1.0), (0.0, 0.01), (100.0, 1.0)])
def test_values_and_gradients_are_those_of_dense_float64(similarity, at_once, offset, temperature, monkeypatch):
    if similarity == "dot" and offset:
        return  # products grow with the offset, and with them their rounding
    monkeypatch.setattr(entropy, "SCORES_AT_ONCE", at_once)
    vectors, codes = torch.randn(50, 4) + offset, torch.randn(20, 4) + offset
    found, expected = [], []
    for results, entropies, dtype in ((found, both, torch.float32), (expected, dense, torch.float64)):
        leaves = [x.to(dtype).requires_grad_() for x in (vectors, codes)]
        sample, codebook = entropies(*leaves, similarity, temperature)
        gradients = torch.autograd.grad(sample - 2 * codebook, leaves)
        results += [sample.detach(), codebook.detach(), *gradients]
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.double(), other, rtol=1e-3, atol=2e-5 / temperature)


def test_gradient_is_that_of_finite_differences():
    vectors = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    codes = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, c: both(z, c, "euclidean", 0.7), (vectors, codes))


def test_a_backward_pass_under_autocast_finds_the_scores_of_the_forward_pass():
    vectors, codes = torch.randn(30, 4), torch.randn(20, 4)
    found = []
    for halves in (False, True):
        leaves = [vectors.clone().requires_grad_(), codes.clone().requires_grad_()]
        sample, codebook = both(*leaves, "dot", 0.01)
        with torch.autocast("cpu", torch.bfloat16, enabled=halves):
            found.append(torch.autograd.grad(sample - codebook, leaves))
    for one, other in zip(*found, strict=True):  # scores in half precision would be off by more than their gradient
        assert torch.allclose(one, other, rtol=0.01, atol=0.01 * float(one.abs().max()))


def test_memory_does_not_grow_with_the_latents():
    # One vector of 262,144 numbers kept for each of the 128 chunks would be 117 MB more; blocks are given back at once here,
    # so that the peak is what is held and not what the allocator keeps for later.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    command = [sys.executable, "-c", MEMORY]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    few, many = json.loads(output)
    assert many - few < 3e7, f"{(many - few) / 1e6:.0f} MB more for eight times as many latents"
