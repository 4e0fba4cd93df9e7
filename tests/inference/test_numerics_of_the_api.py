"""Whatever a caller has set, a tokenizer gives the same tokens and images, and leaves the settings as they were."""

import contextlib
import threading

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import vistok
from samples import ARCHITECTURE, PHOTOS, small_tokenizer
from vistok.images.opening.open_image import open_image
from vistok.images.preprocessing import preprocess, stack_pixels
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.networks.blocks import AttentionBlock
from vistok.tokenizer.numerics.exact import run_exactly
from vistok.tokenizer.preprocessing import PreprocessingConfig

BACKENDS = torch.backends
NEW_PRECISIONS = [BACKENDS, BACKENDS.mkldnn, BACKENDS.mkldnn.matmul, BACKENDS.mkldnn.conv, BACKENDS.cudnn.conv]
NEW_PRECISIONS += [BACKENDS.cudnn.rnn, BACKENDS.cuda.matmul]


def matmul_precision():
    with contextlib.suppress(RuntimeError):  # set through the other interface
        return torch.get_float32_matmul_precision()


def settings():
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.empty(0).device,
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "matmul": matmul_precision(),
        "precisions": [owner.fp32_precision for owner in NEW_PRECISIONS],
        "cudnn": (BACKENDS.cudnn.enabled, BACKENDS.cudnn.benchmark, BACKENDS.cudnn.deterministic),
        "mkldnn": BACKENDS.mkldnn.enabled,
        "attention": (BACKENDS.cuda.flash_sdp_enabled(), BACKENDS.cuda.math_sdp_enabled()),
        "threads": torch.get_num_threads(),
    }


@contextlib.contextmanager
def changed(put, value, back):
    put(value)
    try:
        yield
    finally:
        put(back)


@contextlib.contextmanager
def attribute(owner, name, value):
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def deterministic(warn_only):
    put = lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1])  # noqa: E731
    return changed(put, (True, warn_only), (False, False))


CALLERS = {
    "nothing": contextlib.nullcontext,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "bfloat16": lambda: changed(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "float16": lambda: changed(torch.set_default_dtype, torch.float16, torch.float32),
    "float64": lambda: changed(torch.set_default_dtype, torch.float64, torch.float32),
    "default device": lambda: changed(torch.set_default_device, "meta", None),
    "device context": lambda: torch.device("meta"),
    "no grad": torch.no_grad,
    "inference mode": torch.inference_mode,
    "deterministic": lambda: deterministic(warn_only=False),
    "deterministic warnings": lambda: deterministic(warn_only=True),
    "medium": lambda: changed(torch.set_float32_matmul_precision, "medium", "highest"),
    "high": lambda: changed(torch.set_float32_matmul_precision, "high", "highest"),
    "all bfloat16": lambda: attribute(BACKENDS.mkldnn, "fp32_precision", "bf16"),
    "conv bfloat16": lambda: attribute(BACKENDS.mkldnn.conv, "fp32_precision", "bf16"),
    "all tf32": lambda: attribute(BACKENDS, "fp32_precision", "tf32"),
    "cudnn tf32": lambda: attribute(BACKENDS.cudnn.conv, "fp32_precision", "ieee"),
    "benchmark": lambda: attribute(BACKENDS.cudnn, "benchmark", True),
    "no mkldnn": lambda: attribute(BACKENDS.mkldnn, "enabled", False),
    "no cudnn": lambda: attribute(BACKENDS.cudnn, "enabled", False),
    "plain attention": lambda: sdpa_kernel(SDPBackend.MATH),
    **{f"{n} threads": lambda n=n: changed(torch.set_num_threads, n, torch.get_num_threads()) for n in (1, 2, 3, 4)},
}
if torch.cuda.is_available():
    CALLERS["autocast on a GPU"] = lambda: torch.autocast("cuda", dtype=torch.float16)


@pytest.fixture(scope="module")
def photos():
    config = PreprocessingConfig(size=128)
    paths = [path for path in sorted(PHOTOS.iterdir()) if path.suffix != ".md"][:2]
    pixels = stack_pixels([preprocess(open_image(path.read_bytes()), config, 8) for path in paths])
    return (pixels + 1) / 2


@pytest.fixture(scope="module")
def expected(photos):
    tokenizer = vistok.load("photo-f8", device="cpu")
    tokens = tokenizer.encode(photos)
    return tokenizer, tokens, tokenizer.decode(tokens, output="tensor")


@pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS)
def test_tokens_and_images_are_the_same_and_the_settings_stay(caller, photos, expected):
    tokenizer, tokens, images = expected
    with caller():
        before = settings()
        loaded = vistok.load("photo-f8", device="cpu")
        again = [one.encode(photos) for one in (tokenizer, loaded)]
        decoded = [one.decode(tokens, output="tensor") for one in (tokenizer, loaded)]
        shown = loaded.decode(tokens)
        after = settings()
    assert after == before
    assert all(torch.equal(one, tokens) for one in again) and all(torch.equal(one, images) for one in decoded)
    assert not any(one.is_inference() or one.requires_grad for one in (*again, *decoded))
    assert all(value.dtype == torch.float32 and not value.is_inference() for value in loaded.model.parameters())
    assert [image.size for image in shown] == [(128, 128)] * 2
    assert loaded.fingerprint == tokenizer.fingerprint
    assert BACKENDS.cudnn.allow_tf32, "it raises, and with it torch.export, where a setting was put back as another's"


def test_autocast_would_change_tokens(photos, expected):
    tokenizer, tokens, _ = expected
    pixels = photos * 2 - 1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (tokenizer.model.encode(pixels) != tokens).any()


def test_settings_come_back_after_an_error(expected):
    tokenizer, *_ = expected
    with CALLERS["medium"](), CALLERS["bfloat16"]():
        before = settings()
        with pytest.raises(ValueError, match="multiples of 8"):
            tokenizer.encode(torch.zeros(3, 9, 8))
        assert settings() == before


def test_a_new_thread_begins_with_the_callers_number_of_threads(photos, expected):
    tokenizer, tokens, _ = expected
    seen = []
    with CALLERS["3 threads"]():
        assert torch.equal(tokenizer.encode(photos), tokens)
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert seen == [3]


def test_several_threads_may_encode_at_once(photos, expected):
    tokenizer, tokens, _ = expected
    found = []

    def encode():
        found.extend(torch.equal(tokenizer.encode(photos), tokens) for _ in range(3))

    threads = [threading.Thread(target=encode) for _ in range(3)]
    before = settings()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 9 and settings() == before


@pytest.mark.parametrize("name", ["autocast", "float64", "bfloat16", "default device", "plain attention", "3 threads"])
def test_attention_and_group_norm_are_ours_too(tmp_path, name):
    side = {"channels": [32, 32], "blocks": [1, 1], "attention": [1]}
    architecture = ARCHITECTURE.model_validate({"stem": 4, "latent_channels": 8, "encoder": side, "decoder": side})
    model = small_tokenizer(architecture=architecture)
    assert any(isinstance(module, AttentionBlock) for module in model.modules())
    save_tokenizer(tmp_path, model, architecture, PreprocessingConfig(size=64), "")
    tokenizer = vistok.load(tmp_path, device="cpu")
    images = torch.rand(4, 3, 64, 64)
    tokens = tokenizer.encode(images)
    decoded = tokenizer.decode(tokens, output="tensor")
    with CALLERS[name]():
        assert torch.equal(tokenizer.encode(images), tokens)
        assert torch.equal(tokenizer.decode(tokens, output="tensor"), decoded)


@pytest.mark.parametrize(("count", "passes"), [(1, 1), (16, 1), (64, 4), (70, 5)])
def test_batches_of_a_device_have_one_shape_and_none_too_many(monkeypatch, count, passes):
    monkeypatch.setattr("vistok.tokenizer.numerics.exact.own_numerics", lambda device: contextlib.nullcontext())
    seen = []

    def network(batch):
        seen.append(len(batch))
        return (batch * 2, batch[:, 0])

    double, first = run_exactly(network, torch.rand(count, 3, 8, 8), torch.device("meta"), 16)
    assert seen == [16] * passes and double.shape == (count, 3, 8, 8) and first.shape == (count, 8, 8)
