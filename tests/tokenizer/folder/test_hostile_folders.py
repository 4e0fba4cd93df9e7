"""Whatever a tokenizer folder holds, loading it is one sentence: no other error, no memory, no time."""

import json
import os
import shutil
import struct
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from quantizer_table import EVERY, name_of
from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

SIDE = {"channels": [32, 32], "blocks": [1, 1]}
BIG = 10**9


@pytest.fixture
def folder(tokenizer_folder, tmp_path):
    return shutil.copytree(tokenizer_folder, tmp_path / "copy")


def refusal(folder):
    """Return the sentence, having seen that it costs neither time nor memory."""
    started = time.process_time()  # of this process, on a busy machine too
    with pytest.raises(ValueError) as caught:
        load_tokenizer(folder)
    said = str(caught.value)
    assert time.process_time() - started < 10
    assert "\n" not in said and said.endswith(".") and len(said) < 2000, said
    assert "config.json" in said or "model.safetensors" in said
    return said


def edited(**changes):
    """Return a change of config.json: the dotted path of a key, with __ for the dots, and its value."""

    def edit(values):
        for path, value in changes.items():
            *sections, last = path.split("__")
            owner = values
            for section in sections:
                owner = owner[section]
            owner[last] = value
        return json.dumps(values).encode()

    return edit


def without(path):
    def edit(values):
        *sections, last = path.split("__")
        owner = values
        for section in sections:
            owner = owner[section]
        del owner[last]
        return json.dumps(values).encode()

    return edit


def text(content):
    return lambda values: content if isinstance(content, bytes) else content.encode()


def inserted(piece):
    return lambda values: ("{" + piece + "," + json.dumps(values)[1:]).encode()


CONFIGS = {
    "empty": (text(""), "is not JSON"),
    "a brace": (text("{"), "is not JSON"),
    "zeros": (text(b"\0" * 100), "is not JSON"),
    "not text": (text(b"\xff\xfe\x00\xd8"), "is not JSON"),
    "UTF-16": (lambda values: json.dumps(values).encode("utf-16"), "is not JSON"),
    "byte order mark": (lambda values: b"\xef\xbb\xbf" + json.dumps(values).encode(), "is not JSON"),
    "list": (text("[]"), "holds a list, but must be an object"),
    "null": (text("null"), "holds a NoneType, but must be an object"),
    "number": (text("3"), "holds a int, but must be an object"),
    "string": (text('"photo-f8"'), "holds a str, but must be an object"),
    "NaN": (text('{"format_version": NaN}'), "NaN is not a number"),
    "infinity": (text('{"format_version": -Infinity}'), "-Infinity is not a number"),
    "twice": (inserted('"format_version": 1'), "'format_version' comes twice"),
    "deep": (text('{"a":' * 100_000 + "1" + "}" * 100_000), "nested too deeply"),
    "deep lists": (text("[" * 100_000), "nested too deeply"),
    "thousands of digits": (inserted('"format_versions": ' + "9" * 10_000), "is not JSON"),
    "large": (inserted('"x": "' + "y" * (1 << 20) + '"'), "more than 1048576 bytes"),
    "no object inside": (text("{}"), "has format_version None"),
    "other version": (edited(format_version=99), "has format_version 99"),
    "true version": (edited(format_version=True), "format_version is True, but must be a whole number"),
    "unknown key": (edited(surprise=1), "surprise is not a known key"),
    "unknown key inside": (edited(architecture__surprise=1), "surprise is not a known key"),
    "no architecture": (without("architecture"), "architecture is missing"),
    "no quantizer": (without("quantizer"), "quantizer is missing: set it"),
    "no encoder": (without("architecture__encoder"), "architecture.encoder is missing"),
    "no channels": (without("architecture__encoder__channels"), "channels is missing"),
    "no quantizer name": (without("quantizer__name"), "is not a known quantizer"),
    "no size": (without("quantizer__codebook_size"), "codebook_size is missing"),
    "list for a section": (edited(architecture=[1]), "architecture is"),
    "null for a section": (edited(architecture=None), "architecture is empty, but must be a section"),
    "string for a quantizer": (edited(quantizer="vq"), "quantizer is 'vq', but must be a section with a name"),
    "list for a quantizer": (edited(quantizer=[]), "quantizer is [], but must be a section with a name"),
    "number for a name": (edited(quantizer__name=3), "is not a known quantizer"),
    "list for a name": (edited(quantizer__name=["vq"]), "is not a known quantizer"),
    "string for a number": (edited(quantizer__dim="4"), "quantizer.dim is '4', but must be a whole number such as 4"),
    "string in a list": (
        edited(architecture__encoder__channels=["16", 16]),
        "channels.0 is '16', but must be a whole number",
    ),
    "float for an int": (edited(quantizer__dim=4.0), "quantizer.dim is 4.0, but must be a whole number"),
    "true for a number": (edited(architecture__stem=True), "stem is True"),
    "string for a flag": (edited(architecture__quantizer_convolutions="yes"), "quantizer_convolutions is 'yes'"),
    "one for a flag": (edited(architecture__encoder__middle=0), "middle is 0, but must be true or false"),
    "infinite float": (lambda v: json.dumps(v).replace('"dim": 4', '"dim": 1e999').encode(), "dim is inf"),
    "negative": (edited(quantizer__codebook_size=-300), "codebook_size is -300"),
    "zero": (edited(architecture__latent_channels=0), "latent_channels is 0"),
    "no levels": (edited(architecture__encoder__channels=[]), "channels"),
    "huge channels": (edited(architecture__encoder__channels=[BIG, BIG]), "channels.0 is 1000000000"),
    "most channels": (edited(architecture__encoder__channels=[1 << 15] * 2), "does not fit its config"),
    "huge latent": (edited(architecture__latent_channels=BIG), "latent_channels is 1000000000"),
    "huge blocks": (edited(architecture__encoder__blocks=[BIG, 1]), "blocks.0 is 1000000000"),
    "many levels": (edited(architecture__encoder__channels=[16] * 10_000), "channels is"),
    "huge codebook": (edited(quantizer__codebook_size=1 << 29), r"is (300, 4), not (536870912, 4)"),
    "huger codebook": (edited(quantizer__codebook_size=10**30), "codebook_size is 1000000"),
    "huge dim": (edited(quantizer__dim=1 << 15, quantizer__codebook_size=1 << 30), "does not fit its config"),
    "huge depth": (
        edited(quantizer={"name": "residual", "quantizer": {"name": "fsq", "levels": [3] * 4}, "depth": BIG}),
        "depth is 1000000000",
    ),
    "huge groups": (
        edited(quantizer={"name": "grouped", "quantizer": {"name": "fsq", "levels": [3]}, "groups": BIG}),
        "groups is 1000000000",
    ),
    "most of both": (
        edited(
            quantizer={
                "name": "grouped",
                "groups": 64,
                "quantizer": {"name": "residual", "depth": 64, "quantizer": {"name": "fsq", "levels": [3]}},
            },
            architecture__quantizer_convolutions=True,
        ),
        "does not fit its config",
    ),
    "huge scales": (
        edited(
            quantizer={"name": "multiscale", "quantizer": {"name": "vq", "dim": 4, "codebook_size": 9}, "scales": [BIG]}
        ),
        "scales.0 is 1000000000",
    ),
    "huge levels": (edited(quantizer={"name": "fsq", "levels": [BIG] * 10}), "an int64"),
    "many levels of fsq": (edited(quantizer={"name": "fsq", "levels": [2] * 10_000}), "levels is"),
    "misfit": (edited(architecture__quantizer_convolutions=False), "latent_channels is 8 but the quantizer takes 4"),
    "huge image": (edited(preprocessing__size=-1), "preprocessing.size"),
    "strings for a colour": (edited(preprocessing__background=["1", 2, 3]), "background.0 is '1'"),
}


@pytest.mark.parametrize(("edit", "message"), CONFIGS.values(), ids=CONFIGS)
def test_a_malformed_config_is_one_sentence(folder, edit, message):
    path = folder / "config.json"
    path.write_bytes(edit(json.loads(path.read_text())))
    assert message in refusal(folder)


def header(content, size=None):
    return struct.pack("<Q", len(content) if size is None else size) + content


def entry(**changes):
    facts = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}
    return header(json.dumps({"x": facts}).encode()) + b"\0\0\0\0"


WEIGHTS = {
    "empty": b"",
    "short": b"\1\2\3",
    "absurd header": header(b"{}", size=1 << 62),
    "large header": header(b"{}", size=1 << 30),
    "negative header": b"\xff" * 64,
    "no JSON": header(b"what?"),
    "null": header(b"null"),
    "nothing": header(b"{}"),
    "deep header": header(b'{"a":' * 50_000),
    "absurd shape": entry(shape=[1 << 62, 1 << 62]),
    "negative shape": entry(shape=[-1]),
    "outside": entry(data_offsets=[0, 1 << 40]),
    "unknown type": entry(dtype="F33"),
    "not a tensor": header(b'{"x": 3}'),
    "a pickle": b"\x80\x04\x95" + b"K\x01." * 20,
}


@pytest.mark.parametrize("content", WEIGHTS.values(), ids=WEIGHTS)
def test_damaged_weights_are_one_sentence(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    said = refusal(folder)
    assert "model.safetensors is damaged" in said or "does not fit its config" in said


NAME = "encoder.conv_in.weight"
CHANGES = {
    "nan": (
        lambda value: value.index_fill(0, torch.tensor([3]), torch.nan),
        f"values in {NAME} that are NaN or infinite",
    ),
    "infinite": (lambda value: value.index_fill(0, torch.tensor([3]), -torch.inf), f"values in {NAME} that are NaN"),
    "beyond float32": (lambda value: value.double() + 1e300, f"values in {NAME} that are NaN or infinite"),
    "whole numbers": (lambda value: value.long(), f"has {NAME} as I64, but it must be one of BF16, F16, F32, F64"),
    "booleans": (lambda value: value > 0, f"has {NAME} as BOOL, but"),
    "eight bits": (lambda value: value.to(torch.float8_e4m3fn), f"has {NAME} as F8_E4M3, but"),
    "complex": (lambda value: value.cfloat(), NAME),
    "transposed": (lambda value: value.transpose(0, 1).contiguous(), f"{NAME} is (48, 16, 3, 3), not (16, 48, 3, 3)"),
    "flat": (lambda value: value.flatten(), f"{NAME} is (6912,), not (16, 48, 3, 3)"),
    "scalar": (lambda value: value.sum(), f"{NAME} is (), not (16, 48, 3, 3)"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_weights_of_another_kind_are_one_sentence(folder, change, message):
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file(weights | {NAME: change(weights[NAME])}, path)
    assert message in refusal(folder)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floats_become_float32(folder, dtype):
    path = folder / "model.safetensors"
    save_file({name: value.to(dtype) for name, value in load_file(path).items()}, path)
    assert all(value.dtype == torch.float32 for value in load_tokenizer(folder).model.parameters())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("what", ["folder", "fifo", "link to nowhere", "nothing"])
def test_something_else_in_the_place_of_a_file_is_one_sentence(folder, name, what):
    path = folder / name
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "link to nowhere":
        path.symlink_to("nowhere")
    assert f"it has no {name}" in refusal(folder)


def test_a_file_that_may_not_be_read_is_one_sentence(folder, monkeypatch):
    def refuse(*arguments, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert "config.json cannot be read (Permission denied): make it readable" in refusal(folder)


@pytest.mark.parametrize("values", EVERY, ids=name_of)
def test_every_quantizer_is_compared_before_it_is_built(tmp_path, values):
    """And loads under any default type, with the same codes."""
    model = small_tokenizer(values).eval()
    save_tokenizer(tmp_path, model, ARCHITECTURE, PreprocessingConfig(size=64), "", with_training_state=True)
    tokens = model.encode(torch.rand(1, 3, 32, 32) * 2 - 1)
    torch.set_default_dtype(torch.float64)
    try:
        loaded = load_tokenizer(tmp_path).model
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(loaded.quantizer.lookup(tokens), model.quantizer.lookup(tokens))


def test_what_is_shown_of_a_config_is_one_printable_line(folder):
    values = json.loads((folder / "config.json").read_text())
    for key in ("a\nb", "\x1b[31mred", "\ud800", "\u202eb"):
        (folder / "config.json").write_text(json.dumps(values | {key: 1}))
        assert refusal(folder).isprintable()


def test_a_key_that_comes_twice_is_found_soon_among_many(folder):
    keys = "".join(f'"{number}":1,' for number in range(80_000))
    (folder / "config.json").write_text(f'{{{keys}"79999":1}}')
    assert "'79999' comes twice" in refusal(folder)
