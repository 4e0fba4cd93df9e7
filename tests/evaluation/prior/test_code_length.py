"""The bits are a proper code: they add up to one over all images, and depend on earlier symbols alone."""

import itertools
import math

import pytest
import torch

from vistok.evaluation.prior.code_length import code_lengths
from vistok.evaluation.prior.network import PriorNetwork
from vistok.evaluation.prior.recipe import RECIPE
from vistok.evaluation.prior.symbols import Alphabet
from vistok.evaluation.prior.training import build
from vistok.evaluation.prior.windows import Windows

SMALL = RECIPE._replace(width=16, depth=2, heads=2, context=12)
CPU = torch.device("cpu")


def network_for(alphabet, images, recipe=SMALL, seed=0):
    """A network whose weights all matter, as after training."""
    features = [torch.randn(slot.size, 2, generator=torch.Generator().manual_seed(seed)) for slot in alphabet.slots]
    network = build(alphabet, features, images, recipe, seed, CPU)
    generator = torch.Generator().manual_seed(seed)
    for weight in network.parameters():
        weight.data += 0.3 * torch.randn(weight.shape, generator=generator)
    return network


def images_of(alphabet, *grids, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = len(alphabet.radices)
    return [alphabet.symbols(torch.randint(alphabet.vocab_size, (shape, *grid), generator=generator)) for grid in grids]


def bits_of(network, alphabet, images, recipe=SMALL):
    return code_lengths(network, Windows(alphabet, images, recipe.context), range(len(images)))


@pytest.mark.parametrize(
    ("codes", "radices", "grid"),
    [
        (3, [(3,)], (2, 2)),
        (5, [(3, 2)], (1, 3)),  # the last combination of digits is no code
        (7, [(2, 2, 2)], (2, 1)),
        (2, [(2,), (2,)], (2, 2)),
        (2, [(2,)], (1, 6)),  # longer than a window
    ],
)
def test_probabilities_of_all_images_add_up_to_one(codes, radices, grid):
    alphabet = Alphabet(codes, radices)
    recipe = SMALL._replace(context=4 if grid == (1, 6) else SMALL.context)
    every = itertools.product(range(codes), repeat=len(radices) * math.prod(grid))
    images = [alphabet.symbols(torch.tensor(tokens).reshape(len(radices), *grid)) for tokens in every]
    network = network_for(alphabet, images[:1], recipe)
    bits = bits_of(network, alphabet, images, recipe)
    assert bits.std() > 0.5
    assert float((-bits * math.log(2)).exp().sum()) == pytest.approx(1, abs=1e-5)


def conditionals(network, alphabet, image):
    """The probability of each symbol of a short image, by a float64 softmax of a plain forward."""
    network, probabilities = network.double(), []
    batch = Windows(alphabet, [image], 512).batch(Windows(alphabet, [image], 512).all_of(0), CPU)
    slots = len(alphabet.slots)
    for index in range(len(image.values)):
        scores = []
        slot = alphabet.slots[index % slots]
        for value in range(slot.size):
            targets = batch.targets.clone()
            targets[0, index] = value
            with torch.no_grad():
                scores.append(-network(batch._replace(targets=targets))[0, index])
        chances = torch.stack(scores).exp()
        assert float(chances.sum()) == pytest.approx(1, abs=1e-9)
        probabilities.append(float(chances[int(image.values[index])]))
    return probabilities


@pytest.mark.parametrize(("codes", "radices"), [(5, [(5,)]), (4, [(4,), (4,)]), (5, [(3, 2)])])
def test_bits_are_minus_the_log_of_the_product_of_the_conditionals(codes, radices):
    alphabet = Alphabet(codes, radices)
    (image,) = images_of(alphabet, (2, 3))
    network = network_for(alphabet, [image])
    bits = float(bits_of(network, alphabet, [image]))
    assert bits == pytest.approx(-math.log2(math.prod(conditionals(network, alphabet, image))), abs=1e-4)


def nats(network, alphabet, image):
    windows = Windows(alphabet, [image], 512)
    with torch.no_grad():
        return network(windows.batch(windows.all_of(0), CPU))[0]


@pytest.mark.parametrize(("codes", "radices"), [(9, [(9,)]), (9, [(9,), (9,)]), (15, [(4, 4)])])
def test_a_symbol_changes_nothing_before_it(codes, radices):
    alphabet = Alphabet(codes, radices)
    (image,) = images_of(alphabet, (3, 4))
    network = network_for(alphabet, [image])
    usual = nats(network, alphabet, image)
    for index in range(len(image.values)):
        other = image.values.clone()
        other[index] = (other[index] + 1) % 3
        changed = nats(network, alphabet, image._replace(values=other))
        assert torch.equal(changed[:index], usual[:index])
        assert not torch.equal(changed[index:], usual[index:])


def test_every_part_of_a_symbols_past_matters():
    alphabet = Alphabet(9, [(9,)])
    (image,) = images_of(alphabet, (2, 3))
    network = network_for(alphabet, [image])
    usual = nats(network, alphabet, image)
    for index in range(5):
        other = image.values.clone()
        other[index] = (other[index] + 1) % 9
        assert nats(network, alphabet, image._replace(values=other))[5] != usual[5]


def test_the_bits_of_an_image_do_not_depend_on_the_others():
    alphabet = Alphabet(11, [(11,), (11,)])
    images = images_of(alphabet, (2, 3), (4, 1), (3, 5), (1, 1), (2, 3))  # native sizes, one longer than a window
    network = network_for(alphabet, images)
    together = bits_of(network, alphabet, images)
    alone = torch.cat([bits_of(network, alphabet, [image]) for image in images])
    assert torch.allclose(together, alone, rtol=1e-6)


def test_a_long_image_is_the_sum_of_its_windows_and_counts_each_symbol_once():
    alphabet = Alphabet(5, [(5,), (5,)])
    images = images_of(alphabet, (7, 5))
    windows = Windows(alphabet, images, 12)
    seen = [at for window in windows.all_of(0) for at in range(window.counted, window.stop)]
    assert seen == list(range(70))
    for window in windows.all_of(0):
        assert window.start % 2 == 0 and window.stop - window.start <= 12
        assert window.start == 0 or window.counted - window.start >= 6
    drawn = {windows.random(0, torch.Generator().manual_seed(seed)) for seed in range(200)}
    assert {window.start for window in drawn} == set(range(0, 60, 2)) and {w.stop - w.start for w in drawn} == {12}


def test_an_untrained_network_is_uniform():
    alphabet = Alphabet(300, [(2, 256)])
    images = images_of(alphabet, (4, 4))
    bits = bits_of(PriorNetwork(alphabet, [torch.ones(2, 1), torch.ones(256, 1)], 4, 4, SMALL), alphabet, images)
    values = images[0].values.reshape(16, 2)
    expected = sum(1 + math.log2(44 if first else 256) for first in values[:, 0].tolist())
    assert float(bits) == pytest.approx(expected, rel=1e-6)
