"""All images that tokenize-images made come back, or are named."""

import hashlib
import io
import json
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

import vistok
from samples import image_bytes, noise_image
from vistok.inference.commands import detokenize_images

PNG = image_bytes(noise_image(64, 64), "PNG")


@pytest.fixture
def tokens(tokenize, make_tar, tmp_path):
    """A folder of two shards of three images each."""
    for name in "ab":
        images = [(f"{name}{index}.png", image_bytes(noise_image(64, 64, index), "PNG")) for index in range(3)]
        make_tar(tmp_path / f"{name}.tar", images)
    tokenize(tmp_path / "a.tar", tmp_path / "b.tar", "--out", tmp_path / "tokens")
    return tmp_path / "tokens"


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_model_of_the_manifest_is_taken(tokens, tmp_path, tokenizer_folder):
    assert json.loads((tokens / "manifest.json").read_text())["model"] == str(tokenizer_folder)
    from typer.testing import CliRunner

    result = CliRunner().invoke(detokenize_images.app, [str(tokens), "--out", str(tmp_path / "back"), "--json"])
    facts = json.loads(result.stdout)
    assert result.exit_code == 0 and (facts["written"], facts["shards"]) == (6, 2)


def flip(path, index):
    content = bytearray(path.read_bytes())
    content[index] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("index", [600, 700, 513, 1024 + 3])
def test_a_flipped_bit_is_detected_and_the_other_shards_come_back(tokens, detokenize, tmp_path, index):
    flip(tokens / "a.tar", index)
    said = detokenize(tokens, "--out", tmp_path / "back", code=1)
    assert f"damaged: {tokens / 'a.tar'} does not match its sidecar (SHA-256): remove it and tokenize it again." in said
    assert names(tmp_path / "back") == ["b0.png", "b1.png", "b2.png"]
    said = detokenize(tokens / "a.tar", "--out", tmp_path / "back2", code=1)
    assert "a.tar does not match its sidecar" in said


def test_shards_that_are_cut_or_gone_or_without_a_sidecar_are_named(tokens, detokenize, tmp_path):
    whole = (tokens / "a.tar").read_bytes()
    (tokens / "a.tar").write_bytes(whole[:-1])
    assert "a.tar does not match its sidecar" in detokenize(tokens, "--out", tmp_path / "1", code=1)
    (tokens / "a.tar").unlink()
    assert "a.tar cannot be read (No such file or directory)" in detokenize(tokens, "--out", tmp_path / "2", code=1)
    (tokens / "a.json").unlink()
    said = detokenize(tokens, "--out", tmp_path / "3", code=1)
    assert "manifest.json counts 2 shards, but 1 have a sidecar: tokenize again." in said
    (tokens / "a.tar").write_bytes(whole)
    assert "a.tar has no sidecar, so it may not be whole" in detokenize(tokens, "--out", tmp_path / "4", code=1)


def test_the_same_call_resumes(tokens, detokenize, tmp_path):
    back = tmp_path / "back"
    detokenize(tokens, "--out", back)
    whole = {name: (back / name).read_bytes() for name in names(back)}
    for name in ("a1.png", "b2.png"):
        (back / name).unlink()
    (back / ".vistok-0123456789ab.part").write_bytes(b"left by a kill")
    assert "2 images from 2 shards in" in (said := detokenize(tokens, "--out", back)) and ", 4 there before" in said
    assert {name: (back / name).read_bytes() for name in names(back)} == whole
    Image.open(back / "a0.png").save(back / "a0.png")  # the same pixels, but not known to be
    assert "a0.png is there already: give another --out folder" in detokenize(tokens, "--out", back, code=2)


def test_odd_keys_come_back(tokenize, detokenize, make_tar, tmp_path):
    long = "n" * 251
    keys = ["../up", "/abs", "./dot", "a//b", "dot", long, "a b\n", "x.y/z"]
    make_tar(tmp_path / "s.tar", [(f"{key}.png", PNG) for key in keys])
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / f"{long}.png").write_bytes(PNG)
    assert "9 tokenized, 0 failed" in tokenize(tmp_path / "s.tar", folder, "--out", tmp_path / "tokens")
    assert "9 images from 2 shards" in detokenize(tmp_path / "tokens", "--out", tmp_path / "back")
    found = names(tmp_path / "back")
    assert len(found) == 9 and {"up.png", "abs.png", "dot.png", "dot_2.png", "a/b.png", "x.y/z.png"} <= set(found)
    assert {path.name for path in tmp_path.iterdir()} == {"s.tar", "w", "tokens", "back"}


def hostile(tokens, members):
    """Replace the members of a shard, with a sidecar that fits."""
    with tarfile.open(tokens / "a.tar", "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    content = (tokens / "a.tar").read_bytes()
    sidecar = json.loads((tokens / "a.json").read_text())
    sidecar["files"] = [{"name": "a.tar", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}]
    (tokens / "a.json").write_text(json.dumps(sidecar))


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def test_what_was_carried_over_is_no_sample(tokenize, detokenize, make_tar, tmp_path):
    members = [("k.png", PNG), ("k.mine.tokens.npy", GOOD), ("k.tokens.npy", b""), ("k.txt", b"caption")]
    make_tar(tmp_path / "s.tar", members)
    assert "1 passed over: 1 .npy" in tokenize(tmp_path / "s.tar", "--out", tmp_path / "tokens")
    with tarfile.open(tmp_path / "tokens" / "s.tar") as tar:
        assert tar.getnames() == ["k.tokens.npy", "k.tokens.json", "k.mine.tokens.npy", "k.txt"]
    assert "1 image from 1 shard" in detokenize(tmp_path / "tokens", "--out", tmp_path / "back")


def test_a_tar_with_the_longest_name_comes_back(tokenize, detokenize, make_tar, tmp_path):
    for name in ("n" * 251, "n" * 250 + "m"):
        make_tar(tmp_path / f"{name}.tar", [("a.png", PNG)])
    tokenize(*tmp_path.glob("n*.tar"), "--out", tmp_path / "tokens")
    assert "2 images from 2 shards" in detokenize(tmp_path / "tokens", "--out", tmp_path / "back")


METADATA = b'{"source": "k.png", "width": 64, "height": 64}'
GOOD = npy(np.zeros((1, 8, 8), np.uint16))
HUGE = GOOD.replace(b"(1, 8, 8), }      ", b"(1, 8, 800000000), }")


@pytest.mark.parametrize(
    ("array", "metadata", "sentence"),
    [
        (npy(np.zeros((1, 8, 8))), METADATA, "its tokens are float64 (1, 8, 8), but must be unsigned integers q y x"),
        (
            npy(np.zeros((8, 8), np.uint16)),
            METADATA,
            "its tokens are uint16 (8, 8), but must be unsigned integers q y x",
        ),
        (
            npy(np.zeros((1, 3000, 3000), np.uint16)),
            METADATA,
            "the tokens are (1, 3000, 3000), but an image of 64 x 64 has (1, 8, 8)",
        ),
        (npy(np.full((1, 8, 8), 300, np.uint16)), METADATA, "a token is 300, but the codes are 0 to 299"),
        (npy(np.array([{}]), allow_pickle=True), METADATA, "k.tokens.npy is object (1,), which its"),
        (HUGE, METADATA, "k.tokens.npy is uint16 (1, 8, 800000000), which its 258 bytes do not hold"),
        (b"no array", METADATA, "is not an array"),
        (GOOD.replace(b"(1, 8, 8), }   ", b"(True, 8, 8), }"), METADATA, "is uint16 (True, 8, 8), which"),
        (GOOD.replace(b"(1, 8, 8), }  ", b"(-1, -8, 8), }"), METADATA, "is uint16 (-1, -8, 8), which"),
        (GOOD.replace(b"}", b" "), METADATA, "is not an array"),
        (GOOD.replace(b"{'descr'", b"(" * 8), METADATA, "is not an array"),
        (GOOD, b'{"source": "k.png", "height": 64}', "its metadata has no width and height"),
        (GOOD, b'{"source": "k.png", "width": true, "height": -1}', "its metadata has no width and height"),
        (GOOD, b"[" * 100_000, "its metadata is missing or damaged"),
        (GOOD, None, "its metadata is missing or damaged"),
    ],
)
def test_a_hostile_row_is_a_sentence_and_the_others_come_back(tokens, detokenize, tmp_path, array, metadata, sentence):
    members = {"k.tokens.npy": array, **({} if metadata is None else {"k.tokens.json": metadata})}
    hostile(tokens, {**members, "good.tokens.npy": GOOD, "good.tokens.json": METADATA})
    said = detokenize(tokens, "--out", tmp_path / "back", code=1)
    assert f"failed: {tokens / 'a.tar'}: k: " in said and sentence in said
    assert names(tmp_path / "back") == ["b0.png", "b1.png", "b2.png", "good.png"]


@pytest.mark.parametrize(("content", "what"), [(b"", "Invalid JSON"), (b"{}", "model: Field required")])
def test_a_damaged_manifest_is_a_sentence(tokens, detokenize, tokenize, tmp_path, content, what):
    (tokens / "manifest.json").write_bytes(content)
    said = detokenize(tokens, "--out", tmp_path / "back", code=2)
    assert f"{tokens / 'manifest.json'} is not a manifest of this vistok ({what}" in said
    assert said.endswith("): put the right one back.\n")
    assert "use another --out folder." in tokenize(tmp_path / "a.tar", "--out", tokens, code=2)
    tokenize(tmp_path / "a.tar", "--out", tokens, "--overwrite")


def test_keys_that_lead_out_of_the_folder_stay_in_it(tokens, detokenize, tmp_path):
    row = {".tokens.npy": GOOD, ".tokens.json": METADATA}
    hostile(tokens, {key + ending: content for key in ("../../evil", "/abs") for ending, content in row.items()})
    detokenize(tokens, "--out", tmp_path / "deep" / "back")
    assert names(tmp_path / "deep") == sorted(f"back/{name}.png" for name in ("abs", "evil", "b0", "b1", "b2"))


def test_an_image_whose_path_is_a_folder_is_named(tokens, detokenize, tmp_path):
    (tmp_path / "back" / "a1.png").mkdir(parents=True)
    said = detokenize(tokens, "--out", tmp_path / "back", "--overwrite", code=1)
    assert f"a.tar: a1: {tmp_path / 'back' / 'a1.png'} cannot be written (Is a directory)" in said
    assert "5 images from 2 shards" in said


def test_images_that_are_too_large_are_refused_before_they_are_made(tokenize, detokenize, tmp_path):
    (tmp_path / "k.png").write_bytes(PNG)
    tokens = tmp_path / "tokens"
    tokenize(tmp_path / "k.png", "--out", tokens, "--size", "native")
    for path in ("images-00000.tar", "images-00000.json"):
        shutil.copy(tokens / path, tokens / path.replace("images-00000", "a"))
    sidecar = json.loads((tokens / "a.json").read_text()) | {"shard": "a.tar"}
    (tokens / "a.json").write_text(json.dumps(sidecar))
    metadata = b'{"source": "k.png", "width": 240000, "height": 240000}'
    hostile(tokens, {"h.tokens.npy": npy(np.zeros((1, 3000, 3000), np.uint16)), "h.tokens.json": metadata})
    said = detokenize(tokens, "--out", tmp_path / "back", code=1)
    assert "h: 240000 x 240000 is more than" in said and names(tmp_path / "back") == ["k.png"]


def test_decoding_is_that_of_the_api(tokens, detokenize, tmp_path, tokenizer_folder):
    tokenizer = vistok.load(tokenizer_folder)
    detokenize(tokens, "--out", tmp_path / "back")
    for index in range(3):
        expected = tokenizer.decode(tokenizer.encode(noise_image(64, 64, index)))[0]
        assert np.array_equal(np.asarray(Image.open(tmp_path / "back" / f"b{index}.png")), np.asarray(expected))
