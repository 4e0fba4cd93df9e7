"""The host waits for a GPU between no two batches: neither to encode nor to decode, exactly or fast."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from host_syncs import HostSyncs, no_host_syncs
from quantizer_table import EVERY
from samples import small_tokenizer
from vistok.images.preprocessing import to_bytes
from vistok.inference.arithmetic import start_exactly, start_images
from vistok.inference.fast import FastEncoder
from vistok.tokenizer.exact_model import start_decoding
from vistok.tokenizer.numerics.float32 import own_numerics

CPU = torch.device("cpu")
IMAGES = torch.randint(256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
on_a_gpu = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]


@pytest.fixture(autouse=True)
def one_thread():
    """Operators of other threads are not seen."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("values", EVERY, ids=[f"{index}-{values['name']}" for index, values in enumerate(EVERY)])
def test_no_operator_needs_a_value_on_the_host(values):
    model = small_tokenizer(values).eval()
    tokens = start_exactly(model, CPU, None, IMAGES)()
    begin = {
        "exact": lambda: start_exactly(model, CPU, None, IMAGES),
        "fast": lambda: FastEncoder(model, CPU, "float32-eager-8").start(IMAGES),
        "decode": lambda: start_decoding(model, CPU, None, tokens),
    }
    for name, work in begin.items():
        with HostSyncs() as syncs:
            work()
        # On a CPU, which has nothing to wait for, the search picks its ambiguous rows by nonzero.
        is_search = [each.startswith("nonzero at tokenizer/quantizers/search") for each in syncs.found]
        assert all(is_search) and not (name.startswith("decode") and is_search), (name, syncs.found)


FSQ, BSQ, VQ = {"name": "fsq", "levels": [8, 5, 5]}, {"name": "bsq", "dim": 8}, None
ON_A_GPU = [pytest.param("cuda", quantizer, marks=on_a_gpu) for quantizer in (FSQ, BSQ, VQ)]


@pytest.mark.parametrize(("device", "quantizer"), [("cpu", FSQ), ("cpu", BSQ), *ON_A_GPU])
def test_batches_are_begun_without_a_wait(device, quantizer):
    device = torch.empty(0, device=device).device
    model = small_tokenizer(quantizer).eval().to(device)
    fast = FastEncoder(model, device, "float32-eager-2")
    exact = start_exactly(model, device, 2, IMAGES)(), fast(IMAGES)
    with no_host_syncs():
        finish = start_exactly(model, device, 2, IMAGES), fast.start(IMAGES)
    assert [torch.equal(begun(), tokens) for begun, tokens in zip(finish, exact, strict=True)] == [True, True]
    expected = start_decoding(model, device, 2, exact[0])
    with no_host_syncs():
        decoded, is_finite = start_decoding(model, device, 2, exact[0])
    assert torch.equal(decoded, expected[0]) and is_finite
    bytes_ = to_bytes(decoded).cpu()
    with no_host_syncs():
        finish = start_images(model, device, 2, exact[0])
    assert torch.equal(finish(), bytes_)


def test_settings_of_the_process_are_locked_only_while_they_change():
    """Threads inside at once do not wait for each other."""

    def enter():
        with own_numerics(CPU):
            return torch.get_default_dtype()

    with own_numerics(CPU), HostSyncs() as syncs, ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result(timeout=10) == enter() == torch.float32
    assert not syncs.found
