"""What the README shows is there."""

import re
import shlex

import pytest

import vistok
from commands import APPS, ROOT, options
from vistok.images.finding.inputs import is_image
from vistok.pretrained.find import find_tokenizer
from vistok.pretrained.importers.table import IMPORTERS
from vistok.tokenizer.quantizers import QUANTIZERS
from vistok.train.config_file import find_config

README = (ROOT / "README.md").read_text()
CALLS = [line.strip() for line in README.splitlines() if line.startswith("    ") and line.split()[0] in APPS]


@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_one_that_the_command_takes(call):
    name, *arguments = shlex.split(call, comments=True)
    assert {argument for argument in arguments if argument.startswith("--")} <= options(name)
    if name == "train-tokenizer":
        assert find_config(arguments[0]).is_file()
        assert all("=" in argument for argument in arguments[1:])


def test_no_call_writes_into_a_folder_of_the_repository():
    folders = re.findall(r"--out (\S+)", README)
    assert "tokens" in folders and not [name for name in folders if (ROOT / name / "__init__.py").exists()]


def test_every_option_that_is_named_is_one():
    known = set().union(*(options(name) for name in APPS))
    assert len(CALLS) >= 9 and set(re.findall(r"`(--[a-z-]+)", README)) <= known


def anchors(text):
    """Return what the headings of a Markdown file are called in links."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_links_of_the_quantizers_lead_somewhere():
    page = ROOT / "tokenizer" / "quantizers" / "README.md"
    for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        assert anchor in anchors((page.parent / path).read_text())


def test_every_format_is_read_and_every_link_leads_somewhere():
    for name in ("JPEG", "PNG", "WebP", "GIF", "TIFF", "BMP", "AVIF"):
        assert name in README and is_image(f"a.{name.lower()}")
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        path, _, anchor = target.partition("#")
        assert (ROOT / path).exists()
        assert not anchor or anchor in anchors((ROOT / path).read_text())
    for name in re.findall(r"^\| (`.*?`) \|", README, re.MULTILINE):
        assert {part.strip("` ") for part in name.split(",")} <= {
            *QUANTIZERS,
            *IMPORTERS,
            "tokenize-images",
            "tokenize-images --fast",
        }
    assert all(f"`{family}`" in README for family in IMPORTERS)
    assert find_tokenizer("photo-f8").is_dir() and "picture" not in README


def test_the_lines_of_python_do_what_their_comments_say(monkeypatch):
    monkeypatch.chdir(ROOT)
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    *lines, shown = code.strip().splitlines()
    names = {}
    exec("\n".join(lines), names)
    values, said = shown.split("#")
    assert eval(f"(tuple(tokens.shape), {values.split(',', 1)[1].strip()})", names) == eval(f"({said})")
    assert isinstance(names["tok"], vistok.Tokenizer) and names["images"][0].size == (256, 256)
