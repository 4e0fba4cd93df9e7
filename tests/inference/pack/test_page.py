"""The page about training sequences is true: its first three lines, its programs, its tables."""

import re
import shlex

import numpy as np
import pytest
from PIL import Image

import vistok
from commands import APPS, ROOT, options
from packing import read_packed, run
from samples import PHOTOS
from text_tokenizers import write_text_tokenizer
from vistok.inference.packed_shards.formats import PACKED_FORMATS
from vistok.inference.packed_shards.loss import LOSSES, MASKS
from vistok.sequences.layouts import build_layout
from vistok.sequences.vocabulary import Vocabulary

PAGE = (ROOT / "docs" / "pack.md").read_text()
LINES = [line.strip() for line in PAGE.splitlines() if line.startswith("    ") and line.split()[0] in APPS]
PROGRAMS = re.findall(r"```py\n# (\w+)\n(.*?)```", PAGE, re.DOTALL)
NAMES = sorted(path.stem for path in PHOTOS.iterdir() if path.suffix != ".md")


def call(line, *more):
    name, *arguments = shlex.split(line)
    return run(APPS[name], *arguments, *more, "--quiet")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with the test photos and their captions, a text tokenizer, and what the first two lines made of them."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "photos").mkdir()
    for path in PHOTOS.iterdir():
        if path.suffix != ".md":
            (folder / "photos" / path.name).symlink_to(path)
            (folder / "photos" / f"{path.stem}.txt").write_text(f"a photo of {path.stem}")
    write_text_tokenizer(folder / "tokenizer.json", special=("<s>", "</s>", "<pad>"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in LINES[:2]:
            call(line)
    return folder


def test_three_lines_from_photos_to_packed_data_and_back(here, monkeypatch):
    """An independent reader finds the captions and the very tokens, and the last line gives images and captions back."""
    from tokenizers import Tokenizer

    monkeypatch.chdir(here)
    larger, vocabulary = Tokenizer.from_file("packed/tokenizer.json"), Vocabulary.load("packed")
    layout = build_layout("emu3", vocabulary)
    source = vistok.TokenDataset("tokens")
    assert vocabulary.size == larger.get_vocab_size() == max(larger.get_vocab().values()) + 1
    for row, (ids, mask, starts) in zip(
        map(source.__getitem__, range(len(source))), read_packed(here / "packed", "megatron"), strict=True
    ):
        caption = larger.encode(f"a photo of {row.key}", add_special_tokens=False).ids
        image = layout.ids(row.tokens).tolist()
        assert ids == [larger.token_to_id("<s>"), *caption, *image, larger.token_to_id("</s>")]
        assert mask == [0, *[1] * (len(ids) - 1)] and starts == [0]
        assert larger.id_to_token(image[0]) == "<|image_begin|>"
        code = int(row.tokens[0, 0, 0])
        assert f"visual token {code:06d}" in larger.id_to_token(vocabulary["image"].offsets[0] + code)
    assert "packed is whole, 6 rows of 6 images in 1 shard" in call("verify-tokens packed")
    assert "6 captions, 6 the very text that was packed" in call(LINES[2])
    tokenizer = vistok.load("photo-f8", device="cpu")
    for name in NAMES:
        assert (here / "back" / f"{name}.txt").read_text() == f"a photo of {name}"
    decoded = tokenizer.decode(source["coffee"].tokens[None])[0]
    assert np.array_equal(np.asarray(Image.open(here / "back" / "coffee.png")), np.asarray(decoded))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "program"), PROGRAMS)
def test_a_program_of_the_page_runs(name, program, here, tmp_path, monkeypatch):
    for package in re.findall(r"^(?:import|from) ([\w.]+)", program, re.MULTILINE):
        pytest.importorskip(package, exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "tokens").symlink_to(here / "tokens")
    text = here / "tokenizer.json"
    call(f'pack-sequences tokens --text-tokenizer {text} --format {name} --loss image --bos "<s>" --out packed')
    ids, mask, _ = read_packed(tmp_path / "packed", name)[0]
    found = {}
    exec(compile(program, f"pack.md ({name})", "exec"), found)
    got = found["row"]["input_ids"] if name == "parquet" else found["input_ids"]
    assert list(got) == ids and 0 < sum(mask) < len(mask)
    if name == "megatron":
        assert list(found["mask"]) == mask
    else:
        assert [int(label) for label in found["labels"]] == [
            i if kept else -100 for i, kept in zip(ids, mask, strict=True)
        ]


def test_what_the_page_names_is_there():
    for name in (*PACKED_FORMATS, *LOSSES, *MASKS):
        assert name in PAGE
    for entry in PACKED_FORMATS.values():
        assert all(f"`{suffix}`" in PAGE for suffix in entry.suffixes)
    known = set().union(*(options(name) for name in APPS)) | {"--data-path", "--seq-length"}
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= known and len(PROGRAMS) == len(PACKED_FORMATS)


def test_the_readme_has_the_same_lines_and_its_program_runs(here, monkeypatch):
    readme = (ROOT / "README.md").read_text()
    lines = [line.split("  #")[0].strip() for line in readme.splitlines() if line.startswith("    ")]
    assert set(LINES[:3]) <= set(lines)
    monkeypatch.chdir(here)
    names = {"tokens": vistok.TokenDataset("tokens")["coffee"].tokens[None]}
    program = next(code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "build_layout" in code)
    exec(program, names)
    assert (names["layout"].tokens(names["ids"]) == names["tokens"]).all()
