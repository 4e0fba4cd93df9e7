"""Whatever a file asks for, nothing in it is imported or called; what is damaged is one sentence."""

import pickle
import re
import subprocess
import sys
import textwrap
import zipfile

import pytest
import torch

from hostile_pickles import Stored, hostile_contents, legacy, opcodes_that_call, pickled, tensor, zipped
from vistok.pretrained.importers.checkpoint import read_checkpoint

WEIGHT = tensor(Stored(), 0, (4,), (1,))
VALUES = {"0": torch.arange(4.0).numpy().tobytes()}
FORMATS = {"zip": zipped, "legacy": legacy}


@pytest.fixture(params=FORMATS)
def read(request, tmp_path):
    def call(content, values=VALUES):
        (tmp_path / "a.ckpt").write_bytes(FORMATS[request.param](content, values))
        return dict(read_checkpoint(tmp_path / "a.ckpt").tensors)

    return call


def damage(read, *arguments):
    with pytest.raises(ValueError, match=r"^\S+a\.ckpt is damaged \([^:]+(: [^:]+)?\): download it again\.$") as raised:
        read(*arguments)
    return str(raised.value)


@pytest.mark.parametrize("name", hostile_contents(""))
def test_calls_are_not_made_and_the_weights_beside_them_are_read(name, read, tmp_path):
    mark = tmp_path / "ran"
    content = {"state_dict": {"a": WEIGHT}, "callbacks": hostile_contents(mark)[name]}
    for protocol in (2, 4):
        assert torch.equal(read(pickled(content, protocol))["a"], torch.arange(4.0))
    assert not mark.exists()


@pytest.mark.parametrize("name", opcodes_that_call(""))
def test_no_instruction_calls(name, read, tmp_path):
    mark = tmp_path / "ran"
    with pytest.raises(ValueError, match="holds no tensors that can be read without running its code"):
        read(opcodes_that_call(mark)[name], {})
    assert not mark.exists()


def test_the_planted_calls_would_work(tmp_path):
    """Else the tests above would prove nothing."""
    mark = tmp_path / "ran"
    for content in (pickle.dumps(hostile_contents(mark)["os.system"]), opcodes_that_call(mark)["INST"]):
        pickle.loads(content)
        assert mark.exists()
        mark.unlink()


def test_only_a_flag_unpickles(tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "a.pt"
    torch.save({"model": {"a": torch.ones(2)}, "args": hostile_contents(mark)["os.system"]}, path)
    read_checkpoint(path)
    assert not mark.exists()
    assert torch.equal(read_checkpoint(path, trust_pickle=True).tensors["a"], torch.ones(2)) and mark.exists()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (tensor(Stored(), 0, (10**15,), (1,)), "beyond its 4 values"),
        (tensor(Stored(), 0, (10**15,), (0,)), "its tensors count 4000000000000000 bytes"),
        (tensor(Stored(), 0, (2**40, 2**40), (0, 0)), "no proper shape"),
        (tensor(Stored(), 0, (0, 2**70), (1, 1)), "no proper shape"),
        (tensor(Stored(), 1, (4,), (1,)), "beyond its 4 values"),
        (tensor(Stored(), -1, (4,), (1,)), "no proper shape"),
        (tensor(Stored(), 0, (4,), (-1,)), "no proper shape"),
        (tensor(Stored(), 0, (2, 2), (1,)), "no proper shape"),
        (tensor(Stored(), 0, (2.0,), (1,)), "no proper shape"),
        (tensor(Stored(), 0, (True,), (1,)), "no proper shape"),
        (tensor(Stored(), 0, [4], (1,)), "has no values"),
        (tensor(3, 0, (4,), (1,)), "has no values|lists values that no tensor has"),
        (tensor(Stored("../../etc/passwd"), 0, (4,), (1,)), "are missing|lists values that no tensor has"),
    ],
)
def test_tensors_beyond_their_values_are_refused(made, said, read):
    assert re.search(said, damage(read, pickled({"a": made})))


def test_a_storage_longer_than_the_file(read, tmp_path):
    content = pickled({"a": tensor(Stored(count=10**12), 0, (4,), (1,))})
    assert "cut short" in damage(read, content)


def test_a_tensor_made_of_itself_is_refused(read):
    """A parameter of a parameter of a parameter ..."""
    made = WEIGHT
    for _ in range(9):
        made = type(made)(torch._utils._rebuild_parameter, made, False, {})
    assert "in a way that torch does not write" in damage(read, pickled({"a": made}))


BOMBS = {
    "nested lists": b"]" * 300_000 + b"a" * 299_999 + b".",
    "a nested tuple as a key": b"}" + b")" + b"\x85" * 300_000 + b"K\x01s.",
    "sections of sections": b"\x80\x02}q\x00"
    + b"".join(
        b"}q"
        + bytes([level])
        + b"("
        + b"".join(b"X\x01\x00\x00\x00" + bytes([65 + key]) + b"h" + bytes([level - 1]) for key in range(20))
        + b"u"
        for level in range(1, 60)
    )
    + b".",
    "nested objects": b"cos\nsystem\nq\x00" + b"h\x00" * 300_000 + b")" + b"R\x85" * 300_000 + b".",
    "a giant number": b"\x8b\xff\xff\xff\x7f" + b"\xff" * 1000 + b".",
    "a giant text": b"\x8d" + b"\xff" * 7 + b"\x7f" + b"x" * 1000 + b".",
}


def test_bombs_end_in_a_sentence(tmp_path):
    """In a process of its own, for what would end it."""
    for index, content in enumerate(BOMBS.values()):
        (tmp_path / f"{index}z.pt").write_bytes(zipped(content))
        (tmp_path / f"{index}l.pt").write_bytes(legacy(content))
    code = f"""
        import pathlib
        from vistok.pretrained.importers.checkpoint import read_checkpoint
        for path in sorted(pathlib.Path({str(tmp_path)!r}).iterdir()):
            try:
                read_checkpoint(path)
            except ValueError as error:
                print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(BOMBS) and all(line.startswith(str(tmp_path)) for line in lines)


def test_compressed_entries_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(zipped(pickled({"a": WEIGHT}), VALUES, zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match=r"its archive/data\.pkl is compressed, as torch never writes it"):
        read_checkpoint(path)


def test_a_pickle_that_is_too_long(monkeypatch, read):
    monkeypatch.setattr("vistok.pretrained.checkpoints.inert_pickle.LARGEST", 100)
    assert "it has more than 100 bytes besides its tensors" in damage(read, pickled(["x" * 200]))


@pytest.mark.parametrize("fraction", [0.001, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("is_zip", [True, False])
def test_every_cut_is_said_to_be_damage(fraction, is_zip, tmp_path):
    path = tmp_path / "a.ckpt"
    weights = {f"w{index}": torch.ones(500) for index in range(4)}
    torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=is_zip)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    with pytest.raises(ValueError, match=r"^\S+a\.ckpt is damaged \([^\n]+\): download it again\.$"):
        read_checkpoint(path)


def test_random_damage_is_one_sentence_or_read(tmp_path):
    """Bytes are changed at random; nothing but ValueError comes out."""
    path = tmp_path / "a.ckpt"
    generator = torch.Generator().manual_seed(0)
    for is_zip in (True, False):
        torch.save(
            {"state_dict": {"a": torch.ones(3, 4), "b": torch.ones(2)}}, path, _use_new_zipfile_serialization=is_zip
        )
        good = path.read_bytes()
        for _ in range(300):
            bad = bytearray(good)
            for position in torch.randint(len(bad), (3,), generator=generator).tolist():
                bad[position] = int(torch.randint(256, (), generator=generator))
            path.write_bytes(bad)
            try:
                read_checkpoint(path)
            except ValueError as error:
                assert str(error).startswith(str(path)) and "\n" not in str(error)
