"""Tensors of all kinds of torch's files are those that torch itself reads, and are mapped, not copied."""

import json
import sys
import types

import pytest
import torch
from torch import nn

from hostile_pickles import Calls, Stored, pickled, tensor, zipped
from vistok.pretrained.importers.checkpoint import read_checkpoint

BASE = torch.arange(24.0)
KINDS = {
    "float32": torch.randn(3, 4),
    "half": torch.randn(3).half(),
    "bfloat16": torch.randn(2, 2).bfloat16(),
    "float8": torch.randn(4).to(torch.float8_e4m3fn),
    "uint16": torch.arange(3).to(torch.uint16),
    "int64": torch.arange(5),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(3.5),
    "empty": torch.empty(0, 7),
    "transposed": torch.randn(3, 4).T,
    "part": BASE[6:12].view(2, 3),
    "other part": BASE[::5],
    "parameter": nn.Parameter(torch.randn(2)),
    "channels last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("is_zip", [True, False])
def test_all_kinds_of_tensors(is_zip, tmp_path):
    path = tmp_path / "a.pt"
    newer = () if is_zip else ("float8", "uint16")  # than the format
    torch.save(
        {"model": {name: value for name, value in KINDS.items() if name not in newer}},
        path,
        _use_new_zipfile_serialization=is_zip,
    )
    tensors = read_checkpoint(path).tensors
    expected = torch.load(path, weights_only=True)["model"]
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        assert tensors[name].dtype == value.dtype and tensors[name].shape == value.shape, name
        assert torch.equal(tensors[name].double(), value.double()), name


def test_files_of_the_first_torch(tmp_path):
    """`_rebuild_tensor` without gradients, and a storage of torch.cuda."""

    class HalfStorage:
        __module__ = "torch.cuda"

    HalfStorage.__qualname__ = "HalfStorage"
    old = Calls(torch._utils._rebuild_tensor, Stored(), 1, (3,), (1,))
    (tmp_path / "a.pth").write_bytes(zipped(pickled({"a": old}), {"0": BASE[:4].numpy().tobytes()}))
    assert read_checkpoint(tmp_path / "a.pth").tensors["a"].tolist() == [1, 2, 3]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.register_buffer("levels", torch.tensor([8, 5]), persistent=False)

    def forward(self, pixels):
        return self.encoder(pixels)


def test_a_module_that_was_pickled_whole(tmp_path):
    net = Net()
    torch.save({"model": net, "epoch": 3}, tmp_path / "a.pt")
    check(read_checkpoint(tmp_path / "a.pt").tensors, net)


@pytest.mark.parametrize("make", [torch.jit.script, lambda net: torch.jit.trace(net.eval(), torch.zeros(1, 3, 8, 8))])
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_torchscript_is_read_and_not_compiled(make, tmp_path, monkeypatch):
    net = Net()
    torch.jit.save(make(net), tmp_path / "encoder.jit")
    monkeypatch.setattr(torch.jit, "load", None)
    monkeypatch.setattr(torch._C, "import_ir_module", None)
    tensors = dict(read_checkpoint(tmp_path / "encoder.jit").tensors)
    assert tensors.pop("levels").tolist() == [8, 5]  # an archive does not say what the module would not have stored
    check(tensors, net)


def check(tensors, net):
    expected = net.state_dict()
    assert {name for name in tensors if name != "levels"} == expected.keys()
    assert all(torch.equal(tensors[name], value) for name, value in expected.items())


def test_objects_of_packages_that_are_not_there(tmp_path, monkeypatch):
    """Published files name callbacks and settings by classes that are not installed here; none is imported."""
    module = types.ModuleType("pytorch_lightning.callbacks")
    exec("class ModelCheckpoint(dict):\n    pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    callback = module.ModelCheckpoint(best=3)
    content = {"state_dict": {"a": BASE}, "callbacks": {module.ModelCheckpoint: callback}, "more": [callback, {1, 2}]}
    torch.save(content, tmp_path / "a.ckpt")
    monkeypatch.delitem(sys.modules, module.__name__)
    monkeypatch.delitem(sys.modules, "pytorch_lightning")
    assert torch.equal(read_checkpoint(tmp_path / "a.ckpt").tensors["a"], BASE)
    assert "pytorch_lightning" not in sys.modules


def test_values_are_mapped_and_given_back(tmp_path):
    """What is used counts as resident memory until it is released, and is still right afterwards."""
    big = torch.arange(8_000_000, dtype=torch.float32)
    torch.save({"model": {"a": big}}, tmp_path / "a.pt")
    checkpoint = read_checkpoint(tmp_path / "a.pt")
    before = mapped_kilobytes()
    assert checkpoint.tensors["a"].sum() == big.sum()
    assert mapped_kilobytes() - before > 28_000
    checkpoint.release()
    assert mapped_kilobytes() - before < 4_000
    assert torch.equal(checkpoint.tensors["a"], big)


def test_what_was_changed_in_place_is_not_given_back(tmp_path):
    torch.save({"model": {"a": torch.zeros(5000)}}, tmp_path / "a.pt")
    checkpoint = read_checkpoint(tmp_path / "a.pt")
    checkpoint.tensors["a"].view(50, 100)[0].add_(1)
    checkpoint.release()
    assert checkpoint.tensors["a"].sum() == 100
    assert read_checkpoint(tmp_path / "a.pt").tensors["a"].sum() == 0


def mapped_kilobytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssFile"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped(pickled({"a": tensor(Stored(), 0, (4,), (1,))})), "the values 0 of a tensor are missing"),
        (zipped(b"}."), None),
        (b"PK\x03\x04", "it is cut short: its table of contents, which is at the end, is missing"),
        (b"\x80\x02}.", "it is not a file of torch.save"),
        (json.dumps({"a": 1}).encode(), "its pickle cannot be read: "),
        (b"", "it is empty"),
    ],
)
def test_files_that_are_not_torchs(content, said, tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError) as raised:
        read_checkpoint(path)
    assert (f"{path} is damaged ({said}" if said else "holds no tensors, neither") in str(raised.value)


def test_other_zip_files_and_byte_orders(tmp_path):
    import zipfile

    path = tmp_path / "a.pt"
    for entries, said in (
        ({"readme": b""}, "it is a zip file, but not one of torch"),
        ({"a/data.pkl": b"}.", "a/byteorder": b"big"}, "its numbers have the other byte order"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        with pytest.raises(ValueError, match=said):
            read_checkpoint(path)
