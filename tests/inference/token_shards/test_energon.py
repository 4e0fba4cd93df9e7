"""`energon prepare` takes a folder of tars as tokenize-images writes it, and Energon's loader gives the tokens back."""

import importlib.util
import json
import re
import subprocess
import sys
import tarfile

import pytest

from samples import image_bytes, noise_image, stored_samples

SAMPLE_NAME = re.compile(r"((?:.*/)?[^./][^./]*)[.]([^/]+)")
"""What energon takes for KEY.PART; what begins with `__NAME__` it passes over."""
ENERGON = [sys.executable, "-W", "ignore", "-m", "megatron.energon.cli.main"]
READER = """
import json
import sys
from megatron.energon import Cooker, DefaultTaskEncoder, WorkerConfig, basic_sample_keys, stateless
from megatron.energon import get_loader, get_train_dataset

@stateless
def cook(sample):
    return dict(**basic_sample_keys(sample), tokens=sample["tokens.npy"], about=sample["tokens.json"], caption=sample["txt"])

class Encoder(DefaultTaskEncoder):
    cookers = [Cooker(cook)]

dataset = get_train_dataset(
    sys.argv[1], batch_size=None, shuffle_buffer_size=None, max_samples_per_sequence=None, repeat=False,
    worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0), task_encoder=Encoder(),
)
for sample in get_loader(dataset):
    row = sample["__key__"], sample["tokens"].tolist(), sample["about"]["source"], sample["caption"]
    print("ROW", json.dumps(row))
"""


@pytest.fixture
def tokens(tokenize, make_tar, tmp_path):
    """Shards of two tars whose samples lie in folders and have a caption."""
    tars = []
    for shard in range(2):
        members = []
        for index in range(3):
            members += [
                (f"d{shard}.x/k{index}.png", image_bytes(noise_image(32, 32, index), "PNG")),
                (f"d{shard}.x/k{index}.txt", b"a cat"),
            ]
        tars.append(make_tar(tmp_path / f"s-{shard}.tar", members))
    tokenize(*tars, "--out", tmp_path / "tokens", "--size", 32)
    return tmp_path / "tokens"


def test_the_names_in_a_shard_are_those_of_energon(tokens):
    keys = []
    for path in sorted(tokens.glob("**/*.tar")):
        with tarfile.open(path, "r:") as tar:  # not compressed, so that it can be indexed
            for member in tar:
                name = SAMPLE_NAME.fullmatch(member.name)
                assert member.isreg() and name and not re.match("__[^/]*__", member.name)
                keys += [] if keys[-1:] == [name[1]] else [name[1]]
                assert name[2] in ("tokens.npy", "tokens.json", "txt")
    # The parts of a sample follow one another, and no two samples of the folder share a key.
    assert len(keys) == len(set(keys)) == 6
    assert {path.suffix for path in tokens.iterdir()} == {".tar", ".json"}


@pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="needs megatron-energon")
def test_energon_prepares_and_reads_the_folder(tokens, tokenize, tmp_path):
    pytest.importorskip("megatron.energon.cli", exc_type=ImportError)
    prepare = [*ENERGON, "prepare", "--non-interactive", "--split-ratio", "1,0,0", "--sample-type", "CrudeWebdataset"]
    done = subprocess.run([*prepare, str(tokens)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "Found 2 tar files in total" in done.stdout, done.stdout + done.stderr
    assert "__class__: CrudeWebdataset" in (tokens / ".nv-meta" / "dataset.yaml").read_text()
    done = subprocess.run([sys.executable, "-c", READER, tokens], capture_output=True, text=True, timeout=100)
    rows = [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("ROW ")]
    samples = [sample for path in sorted(tokens.glob("*.tar")) for sample in stored_samples(path)]
    expected = {sample.key: [sample.tokens().tolist(), sample.metadata()["source"], "a cat"] for sample in samples}
    assert len(rows) == 6 and {key: rest for key, *rest in rows} == expected, done.stderr
    # What energon adds to the folder is in nobody's way.
    call = (tmp_path / "s-0.tar", tmp_path / "s-1.tar", "--out", tokens, "--size", 32)
    assert "0 written, 2 done before" in tokenize(*call)
    assert "2 written" in tokenize(*call, "--overwrite")
