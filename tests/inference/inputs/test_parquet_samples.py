"""Every row of a parquet file is a sample or a failure, and every other value a companion or counted."""

import base64
import json

import pytest

from samples import image_bytes, noise_image
from vistok.images.tars.blocks import DamagedShard
from vistok.inference.inputs import folder_shards, parquet_samples
from vistok.inference.inputs.companions import KEEP_ALL, parse_keep
from vistok.inference.inputs.parquet_samples import ParquetSource
from vistok.inference.inputs.plan import plan_shards

pa = pytest.importorskip("pyarrow", reason="parquet files need pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
PNG = image_bytes(noise_image(8, 8), "PNG")


def write(path, columns, features=None, **options):
    table = pa.table(columns)
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, path, **options)
    return str(path)


def listed(path, keep=KEEP_ALL, column=""):
    listing = ParquetSource(path, "s", keep, column).list_samples()
    return list(listing.samples), listing.passed_over


def kept(sample):
    return {each.extension: each.open().read() for each in sample.companions}


def test_the_layout_of_datasets(tmp_path):
    images = [{"bytes": PNG + bytes([index]), "path": f"x/{index % 3}.png"} for index in range(100)]
    columns = {
        "image": images,
        "caption": [None if index == 5 else f"no {index}" for index in range(100)],
        "label": list(range(100)),
        "boxes": [[index + 0.5] for index in range(100)],
        "mask": [{"bytes": bytes(1 << 15), "path": None}] * 100,
        "odd name": ["x"] * 100,
    }
    path = write(tmp_path / "train-00000.parquet", columns, {"image": {"_type": "Image"}}, row_group_size=30)
    samples, passed_over = listed(path)
    assert [sample.entry.read() for sample in samples] == [image["bytes"] for image in images]
    assert [sample.key for sample in samples[:5]] == ["0", "1", "2", "0_2", "1_2"] and samples[3].source == "x/0.png"
    for index, sample in enumerate(samples):
        caption = {} if index == 5 else {"caption": f"no {index}".encode()}
        numbers = {"label": b"%d" % index, "boxes": b"[%d.5]" % index}
        assert kept(sample) == caption | numbers | {"mask": bytes(1 << 15)}
    assert passed_over == {"column odd name": 100}
    samples, passed_over = listed(path, parse_keep("caption"))
    assert [kept(sample) for sample in samples[:2]] == [{"caption": b"no 0"}, {"caption": b"no 1"}]
    assert passed_over == {f"column {name}": 100 for name in ("label", "boxes", "mask", "odd name")}
    (task,) = plan_shards([path], 10).shards
    assert task.name == "train-00000" and len(list(task.source.list_samples().samples)) == 100


def test_keys_are_those_of_webdataset(tmp_path):
    """No dot in the last part, which would end the key, and nothing that a tar cannot name; the row's number else."""
    given = ["photo.v2", "x.y/z.jpg", "/", "..", "", None, "a\0b\n", "../up", "ok", "photo.v2"]
    samples, _ = listed(write(tmp_path / "s.parquet", {"image": [PNG] * 10, "key": given}))
    assert [sample.key for sample in samples] == [
        *("photo_v2", "x.y/z_jpg", "00000002", "00000003", "00000004", "00000005", "a_b_", "up", "ok", "photo_v2_2")
    ]
    assert samples[0].source == "photo.v2" and samples[2].source == "/" and samples[5].source == "row 5"
    paths = {"image": [{"bytes": PNG, "path": path} for path in ("x/", "a\0.jpg", "b.c.jpg")]}
    samples, _ = listed(write(tmp_path / "s.parquet", paths))
    assert [sample.key for sample in samples] == ["00000000", "a_", "b_c"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (pa.array(["b", "a", "b"]).dictionary_encode(), ["b", "a", "b_2"]),
        (pa.array(["b", "a", "c"], pa.large_string()), ["b", "a", "c"]),
        (pa.array(["b", "a", "c"], pa.string_view()), ["b", "a", "c"]),
        (pa.array([0, 7, None], pa.int64()), ["0", "7", "00000002"]),
        (pa.array([0.5, 1, 2]), ["00000000", "00000001", "00000002"]),
    ],
)
def test_keys_of_any_type_of_text_and_of_whole_numbers(tmp_path, keys, expected):
    samples, _ = listed(write(tmp_path / "s.parquet", {"image": [PNG] * 3, "key": keys}))
    assert [sample.key for sample in samples] == expected


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(len(PNG))])
def test_images_of_any_type_of_bytes(tmp_path, kind):
    samples, _ = listed(write(tmp_path / "s.parquet", {"image": pa.array([PNG, None], kind), "label": [1, 2]}))
    assert [sample.entry.read() if sample.entry else None for sample in samples] == [PNG, None]


def test_images_that_are_written_as_a_dictionary(tmp_path):
    samples, _ = listed(write(tmp_path / "s.parquet", {"image": pa.array([PNG, b"x", PNG]).dictionary_encode()}))
    assert [sample.entry.read() for sample in samples] == [PNG, b"x", PNG]


def test_columns_of_one_extension_are_one_companion(tmp_path):
    """Two members of one name cannot be told apart, and webdataset, which reads names in lower case, refuses them."""
    columns = {"image": [PNG], "a": ["first"], ".a": ["second"], "A": ["third"], "b": ["other"], ".": ["none"]}
    (sample,), passed_over = listed(write(tmp_path / "s.parquet", columns))
    assert [(each.extension, each.open().read()) for each in sample.companions] == [("a", b"first"), ("b", b"other")]
    assert passed_over == {"column .a": 1, "column A": 1, "column .": 1}


def test_rows_that_img2dataset_could_not_load_are_failures(tmp_path):
    columns = {
        "jpg": [PNG, None, None],
        "key": ["000000000", "000000001", "000000002"],
        "status": ["success", "failed_to_download", None],
        "error_message": [None, "HTTP Error 404: Not Found", None],
    }
    samples, _ = listed(write(tmp_path / "s.parquet", columns), parse_keep("none"))
    assert [(sample.key, sample.problem) for sample in samples] == [
        ("000000000", ""),
        ("000000001", "has no bytes in its row (HTTP Error 404: Not Found, failed_to_download)"),
        ("000000002", "has no bytes in its row"),
    ]


def not_utf8(*values):
    return pa.array(values, pa.binary()).cast(pa.string(), safe=False)


def nested(texts):
    """A struct of a list of texts."""
    return pa.StructArray.from_arrays([pa.ListArray.from_arrays(list(range(len(texts) + 1)), texts)], ["words"])


@pytest.mark.parametrize("large", [0, 1 << 15])
def test_text_that_is_not_utf8_keeps_its_bytes_and_its_neighbours(tmp_path, large):
    """A caption is a file, which has bytes; names show those that are not UTF-8 as names of files do."""
    latin = "café".encode("latin-1") + b"e" * large
    texts = not_utf8("café".encode(), latin, None)
    columns = {
        "image": pa.StructArray.from_arrays([pa.array([PNG, PNG, None]), texts], ["bytes", "path"]),
        "caption": texts,
        "view": texts.cast(pa.string_view(), safe=False),
        "once": texts.dictionary_encode(),
        "deep": nested(texts),
        "status": not_utf8(b"ok", b"ok", b"no \xe9"),
    }
    good, bad, failed = listed(write(tmp_path / "s.parquet", columns), parse_keep("caption,view,once,deep"))[0]
    assert kept(good) == dict.fromkeys(("caption", "view", "once"), "café".encode()) | {
        "deep": '{"words": ["café"]}'.encode()
    }
    assert kept(bad) == dict.fromkeys(("caption", "view", "once"), latin) | {
        "deep": json.dumps({"words": [base64.b64encode(latin).decode()]}).encode()
    }
    assert (good.key, bad.source[:7], failed.problem) == ("café", "caf\\xe9", "has no bytes in its row (no \\xe9)")
    keys, _ = listed(write(tmp_path / "t.parquet", {"image": [PNG] * 3, "key": texts}))
    assert [sample.key[:8] for sample in keys] == ["café", "caf\\xe9" + "e" * bool(large), "00000002"]


def test_values_that_json_or_python_lacks(tmp_path):
    far = pa.array([1, 2**62], pa.int64())
    columns = {
        "image": [PNG, PNG],
        "score": [float("nan"), 0.5],
        "scores": [[float("inf"), 1.0, None], [float("-inf")]],
        "mixed": [{"raw": b"\xff", "n": float("nan")}, {"raw": b"a", "n": 2.0}],
        "fine": far.cast(pa.timestamp("ns")),
        "far": far.cast(pa.timestamp("ms")),
    }
    one, other = (kept(sample) for sample in listed(write(tmp_path / "s.parquet", columns))[0])
    assert {name: json.loads(one[name]) for name in ("score", "scores", "mixed")} == {
        "score": "NaN",
        "scores": ["Infinity", 1.0, None],
        "mixed": {"raw": "/w==", "n": "NaN"},
    }
    assert {name: json.loads(other[name]) for name in ("score", "scores", "mixed")} == {
        "score": 0.5,
        "scores": ["-Infinity"],
        "mixed": {"raw": "YQ==", "n": 2.0},
    }
    assert one["fine"] == b'"1970-01-01 00:00:00.000000001"' and other["far"] == b'"<value out of range: %d>"' % 2**62


def test_rows_are_streamed(tmp_path):
    """The first samples come before the others are read, and large groups of rows are not in memory as a whole."""
    path = write(tmp_path / "s.parquet", {"image": [bytes(1000)] * 1000}, row_group_size=1000)
    listing = ParquetSource(path, "s", KEEP_ALL).list_samples()
    samples = iter(listing.samples)
    next(samples)
    assert listing.fraction() <= parquet_samples.ROWS / 1000
    assert [sample.key for sample in samples][-1] == "00000999" and listing.fraction() == 1


def test_the_column_is_found_or_named(tmp_path):
    path = write(tmp_path / "s.parquet", {"one": [PNG], "two": [PNG], "text": ["a"]})
    with pytest.raises(
        ValueError,
        match=r"s.parquet has 2 columns with the bytes of images \(there are one, two\): name one with --image-column, or",
    ):
        plan_shards([path], 10)
    (task,) = plan_shards([path], 10, image_column="two").shards
    ((sample,), _) = listed(path, column="two")
    assert kept(sample) == {"one": PNG, "text": b"a"} and task.source.image_column == "two"
    with pytest.raises(
        ValueError, match=r"has no column three with the bytes of images \(there are one, two\): name one"
    ):
        plan_shards([path], 10, image_column="three")
    texts = write(tmp_path / "t.parquet", {"text": ["a"], "url": ["b"]})
    for column in ("", "text"):
        which = " text" if column else ""
        with pytest.raises(
            ValueError,
            match=rf"has no column{which} with the bytes of images \(there are text, url\): leave the file out\.",
        ):
            plan_shards([texts], 10, image_column=column)
    with pytest.raises(DamagedShard, match=r"t.parquet has no column with the bytes of images"):
        listed(texts)
    with pytest.raises(ValueError, match=r"has no column with the bytes of images \(there are none\): leave the file"):
        plan_shards([write(tmp_path / "u.parquet", {})], 10)


def test_damage_is_said(tmp_path):
    whole = write(
        tmp_path / "s.parquet", {"image": [bytes(range(256)) * 100] * 50}, compression="none", use_dictionary=False
    )
    content = (tmp_path / "s.parquet").read_bytes()
    for changed in (b"PAR1", content[:-20], b"", content[:100] + bytes(200) + content[300:]):
        (tmp_path / "s.parquet").write_bytes(changed)
        try:
            samples, _ = listed(whole)
        except DamagedShard as error:
            assert "s.parquet is not a parquet file, or damaged" in str(error)
        else:
            assert len(samples) == 50


def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch):
    path = write(tmp_path / "s.parquet", {"image": [PNG]})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"s.parquet needs the package pyarrow: pip install 'vistok\[parquet\]', and run the"
    ):
        plan_shards([path], 10)


def test_damage_of_the_first_file_does_not_stop_the_others(tmp_path):
    broken, whole = tmp_path / "a.parquet", write(tmp_path / "b.parquet", {"image": [PNG]})
    broken.write_bytes(b"PAR1")
    first, second = plan_shards([str(broken), whole], 10).shards
    with pytest.raises(DamagedShard, match=r"a.parquet is not a parquet file, or damaged"):
        list(first.source.list_samples().samples)
    assert len(list(second.source.list_samples().samples)) == 1


def test_a_table_without_images_in_a_folder_is_passed_over(tmp_path):
    folder = tmp_path / "photos"
    (folder / "train").mkdir(parents=True)
    (folder / "a.png").write_bytes(PNG)
    write(folder / "labels.parquet", {"label": [1, 2]})
    (folder / "broken.parquet").write_bytes(b"PAR1")
    plan = plan_shards([str(folder)], 10)
    assert [task.name for task in plan.shards] == ["broken", "images-00000"]
    assert plan.passed_over == {".parquet": 1}


def test_images_beside_a_folder_of_the_same_name_are_read(tmp_path):
    """`train.parquet` beside `train/` is metadata of img2dataset only if it has no images."""
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.png").write_bytes(PNG)
    path = write(tmp_path / "train.parquet", {"image": [PNG]})
    assert [task.name for task in plan_shards([path], 10).shards] == ["train"]
    assert [task.name for task in plan_shards([str(tmp_path)], 10).shards] == ["train", "images-00000"]


@pytest.mark.parametrize("can_look", [True, False])
def test_metadata_of_img2dataset_is_passed_over(tmp_path, make_tar, monkeypatch, can_look):
    monkeypatch.setattr(folder_shards, "has_pyarrow", lambda: can_look)
    folder = tmp_path / "laion"
    (folder / "00001").mkdir(parents=True)
    make_tar(folder / "00000.tar", [("000000000.jpg", PNG), ("000000000.txt", b"a"), ("000000000.json", b"{}")])
    (folder / "00001" / "000010000.jpg").write_bytes(PNG)
    for name in ("00000", "00001"):
        write(folder / f"{name}.parquet", {"key": ["1"], "status": ["success"]})
        (folder / f"{name}_stats.json").write_bytes(b"{}")
    as_files = sorted(str(path) for path in folder.iterdir() if path.is_file())
    walked, given = plan_shards([str(folder)], 10), plan_shards(as_files, 10)
    assert [task.name for task in walked.shards] == ["00000", "images-00000"]
    assert [task.name for task in given.shards] == ["00000"]
    for plan in (walked, given):
        assert plan.passed_over == {".parquet": 2, ".json": 2}
