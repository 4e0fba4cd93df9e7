"""The results in the repository are those of the scripts as they are."""

import json
import sys

import pytest

from commands import ROOT


@pytest.mark.parametrize("name", ["arena", "arena_long"])
def test_the_rows_of_the_arena_are_of_its_entries(name, monkeypatch):
    """A setting that is renamed is renamed there, too: else the script would refuse its own file, or repeat the rows."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from arena.entries import ENTRIES, Entry

    sys.modules.pop("arena.entries")
    rows = json.loads((ROOT / "results" / f"{name}.json").read_text())["rows"]
    for row in rows:
        assert json.loads(json.dumps(ENTRIES[row["name"]]._asdict())) == Entry(**row["entry"])._asdict(), row["name"]


def test_references_were_compared_as_they_are_now(monkeypatch):
    """Each at its published size, with no token that differs by more than rounding."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from references.published import REFERENCES

    rows = json.loads((ROOT / "results" / "side_by_side.json").read_text())["rows"]
    assert list(rows) == list(REFERENCES)
    for name, reference in REFERENCES.items():
        row = rows[name]
        assert row["family"] == reference.family and row["class"] == reference.name, name
        assert row["config"] == dict(reference.config) and row["size"] == reference.size, name
        assert row["tokens"] == row["images"] * (reference.size // reference.downsample) ** 2, name
        assert row["differ"] == row["differ_by_rounding"], name
