"""A shard whose images have all failed is read as nothing: by vistok in every format, and by the readers of its format."""

import json

import pytest
from torch.utils.data import DataLoader

import vistok
from samples import image_bytes, noise_image
from shard_files import FORMATS

PNG = image_bytes(noise_image(64, 64), "PNG")


@pytest.fixture
def folder(tokenize, make_tar, tmp_path):
    """Return a function that makes shards of a format from three tars, of which the second has broken images only."""

    def make(form):
        contents = {"a": [PNG, PNG], "b": [b"broken", b""], "c": [PNG]}
        tars = [
            make_tar(tmp_path / f"{name}.tar", [(f"{name}{index}.png", each) for index, each in enumerate(images)])
            for name, images in contents.items()
        ]
        tokenize(*tars, "--out", tmp_path / form, "--format", form)
        sidecar = json.loads((tmp_path / form / "b.json").read_bytes())
        assert (sidecar["images"], sidecar["rows"], len(sidecar["failures"])) == (0, 0, 2)
        return tmp_path / form

    return make


@pytest.mark.parametrize("form", FORMATS)
def test_vistok_reads_it_as_nothing(form, folder, verify, detokenize, tokenize, tmp_path):
    out = folder(form)
    dataset = vistok.TokenDataset(out)
    assert [row.key for row in dataset] == [row.key for row in dataset.stream()] == ["a0", "a1", "c0"]
    assert (
        sorted(row.key for row in dataset.stream(shuffle_buffer=2)) == ["a0", "a1", "c0"] and dataset["c0"].key == "c0"
    )
    assert "is whole, 3 rows in 3 shards" in verify(out)
    assert "3 images from 3 shards" in detokenize(out, "--out", tmp_path / "back")
    tars = [tmp_path / f"{name}.tar" for name in "abc"]
    assert "0 written, 3 done before" in tokenize(*tars, "--out", out, "--format", form)
    assert "1 written, 2 done before" in tokenize(*tars, "--out", out, "--format", form, "--retry-failures")


@pytest.mark.filterwarnings("ignore")
def test_webdataset_reads_it_as_nothing(folder):
    webdataset = pytest.importorskip("webdataset")
    tars = [str(path) for path in sorted(folder("wds").glob("*.tar"))]

    def keys(urls, **options):
        return [sample["__key__"] for sample in webdataset.WebDataset(urls, shardshuffle=False, **options)]

    assert keys(tars) == ["a0", "a1", "c0"] and keys(tars[1], empty_check=False) == []
    with pytest.raises(ValueError, match="No samples found in dataset"):  # as the page about formats says
        keys(tars[1])
    loader = DataLoader(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False), None, num_workers=3)
    assert sorted(sample["__key__"] for sample in loader) == ["a0", "a1", "c0"]


def test_pyarrow_reads_it_as_nothing(folder):
    dataset = pytest.importorskip("pyarrow.dataset")
    rows = dataset.dataset(sorted(map(str, folder("parquet").glob("*.parquet")))).to_table()
    assert rows.column("key").to_pylist() == ["a0", "a1", "c0"]
