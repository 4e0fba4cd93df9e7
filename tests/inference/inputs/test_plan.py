import os
import sys

import numpy as np
import pytest

from samples import image_bytes, noise_image
from vistok.inference.inputs.companions import parse_keep
from vistok.inference.inputs.plan import plan_shards, refuse_overwriting
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.token_samples import TokenSample

PNG = image_bytes(noise_image(8, 8), "PNG")


def keys(shard):
    return [sample.key for sample in shard.source.list_samples().samples]


def test_loose_images_are_gathered_in_order(tmp_path):
    for name in ("b.png", "a.png", "sub/c.png", "note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    plan = plan_shards([str(tmp_path)], shard_size=2)
    assert [(shard.name, keys(shard)) for shard in plan.shards] == [
        ("images-00000", ["a", "b"]),
        ("images-00001", ["sub/c"]),
    ]
    assert plan.passed_over == {".txt": 1}


def test_token_shards_in_a_folder_are_no_inputs(tmp_path, make_tar):
    """A folder may hold the tokens of an earlier call, without images; tars of others are read whatever they hold."""
    (tmp_path / "a.png").write_bytes(PNG)
    for name in ("images-00000", "photos"):
        path = tmp_path / "tokens" / f"{name}.tar"
        path.parent.mkdir(exist_ok=True)
        with open(path, "wb") as file:
            tokens = np.zeros((1, 2, 2), np.uint16)
            SHARD_FORMATS["wds"].write([file], [TokenSample("a", tokens, {"source": "a.png", "width": 8, "height": 8})])
    make_tar(tmp_path / "photos.tar", [("1.tokens.npy", b"of others"), ("1.png", PNG)])
    plan = plan_shards([str(tmp_path)], 10)
    assert [(shard.name, keys(shard)) for shard in plan.shards] == [("photos", ["1"]), ("images-00000", ["a"])]
    assert plan.passed_over == {"token shard": 2}
    with pytest.raises(ValueError, match=r"No images in .*tokens: give image files"):
        plan_shards([str(tmp_path / "tokens")], 10)


def test_names_that_differ_in_ending_or_dots_keep_different_keys(tmp_path):
    for name in ("a.png", "a.jpg", "x.y.png", "x_y.png", "one.webp"):
        (tmp_path / name).write_bytes(PNG)
    samples = plan_shards([str(tmp_path)], 10).shards[0].source.list_samples().samples
    found = {sample.source: sample.key for sample in samples}
    assert len(set(found.values())) == 5
    assert found["a.png"] == "a_png" and found["a.jpg"] == "a_jpg" and found["one.webp"] == "one"
    assert all("." not in key for key in found.values())


def test_a_tar_keeps_its_name_and_keys(tmp_path, make_tar):
    members = [("x/1.jpg", PNG), ("x/1.json", b"{}"), ("2.cls", b"7"), ("2.PNG", PNG), ("3.txt", b"no image")]
    shard = plan_shards([str(make_tar(tmp_path / "photos-7.tar", members))], 10).shards[0]
    assert shard.name == "photos-7" and keys(shard) == ["x/1", "2", "3"]
    assert [sample.entry is None for sample in shard.source.list_samples().samples] == [False, False, True]


def test_no_image_of_a_tar_is_lost_without_a_row(tmp_path, make_tar):
    names = ["cat.jpg", "x.left.jpg", "cat.png", "x.right.jpg", ".hidden.jpg", "d/.DS_Store", "cat.jpg"]
    shard = plan_shards([str(make_tar(tmp_path / "a.tar", [(name, PNG) for name in names]))], 10).shards[0]
    assert [(sample.key, sample.source, sample.problem) for sample in shard.source.list_samples().samples] == [
        ("cat", "cat.jpg", ""),
        ("x", "x.left.jpg", ""),
        ("cat", "cat.png", "cat.png shares its key with cat.jpg"),
        ("x", "x.right.jpg", "x.right.jpg shares its key with x.left.jpg"),
        ("", ".hidden.jpg", ".hidden.jpg has nothing before its dot for a key"),
        ("cat", "cat.jpg", "cat.jpg shares its key with cat.jpg"),
    ]


@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are Unicode there")
def test_names_that_are_not_utf_8_are_made_printable_and_still_read(tmp_path, make_tar):
    (tmp_path / "w").mkdir()
    for name in (b"a\xff.png", b"a\\xff.png"):  # the second is what the first is shown as
        with open(os.path.join(os.fsencode(tmp_path / "w"), name), "wb") as file:
            file.write(PNG)
    tar = make_tar(tmp_path / "t.tar", [(os.fsdecode(b"b\xff.png"), PNG)])
    loose, in_tar = (
        list(plan_shards([str(path)], 10).shards[0].source.list_samples().samples) for path in (tmp_path / "w", tar)
    )
    assert sorted(sample.source for sample in loose) == ["a\\xff.png", "a\\xff.png"]
    assert len({sample.key for sample in loose}) == 2
    assert [(sample.key, sample.source) for sample in in_tar] == [("b\\xff", "b\\xff.png")]
    assert all(sample.entry.read() == PNG for sample in [*loose, *in_tar])


def test_the_output_folder_is_left_out_of_the_walk(tmp_path):
    for name in ("w/a.png", "w/tokens/preview.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    assert keys(plan_shards([str(tmp_path / "w")], 10, tmp_path / "w" / "tokens").shards[0]) == ["a"]
    assert keys(plan_shards([str(tmp_path / "w")], 10).shards[0]) == ["a", "tokens/preview"]


def test_what_is_read_is_not_overwritten(tmp_path, make_tar):
    make_tar(tmp_path / "data.tar", [("a.png", PNG)])
    (tmp_path / "other").symlink_to(tmp_path)
    for path in (tmp_path / "data.tar", tmp_path / "other" / "data.tar"):
        plan = plan_shards([str(path)], 10)
        with pytest.raises(ValueError, match=r"data.tar would be overwritten by .*data.tar: give another --out folder"):
            refuse_overwriting(plan, [str(tmp_path / "manifest.json"), str(tmp_path / "data.tar")])
        refuse_overwriting(plan, [str(tmp_path / "out" / "data.tar"), str(tmp_path / "manifest.json")])


def test_lists_and_brace_ranges(tmp_path, make_tar):
    for index in range(3):
        make_tar(tmp_path / f"s-{index}.tar", [("a.png", PNG)])
    (tmp_path / "single.png").write_bytes(PNG)
    listed = tmp_path / "list.txt"
    listed.write_text(f"{tmp_path}/s-{{0..1}}.tar\n\n{tmp_path}/single.png\n")
    assert [shard.name for shard in plan_shards([str(listed)], 10).shards] == ["s-0", "s-1", "images-00000"]
    assert [shard.name for shard in plan_shards([f"{tmp_path}/s-{{0..2}}.tar"], 10).shards] == ["s-0", "s-1", "s-2"]


def test_missing_lines_have_a_name_of_some_length(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("missing/\n" + "x" * 100_000 + "\n")
    assert [image.name for image in plan_shards([str(listed)], 10).loose] == ["missing", "x" * 255]


def test_captions_are_found_in_a_folder_that_may_not_be_listed(tmp_path, monkeypatch):
    for name in ("a.png", "a.txt", "a.md", "b.txt"):
        (tmp_path / name).write_bytes(PNG)

    def closed(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.listdir", closed)
    loose = plan_shards([str(tmp_path / name) for name in ("a.png", "a.md")], 10).loose
    assert [(image.name, image.companions) for image in loose] == [("a.png", ("a.txt",))]
    with_md = plan_shards([str(tmp_path / "a.png")], 10, keep=parse_keep("md")).loose
    assert with_md[0].companions == ("a.md",)


def test_an_image_that_is_given_again_counts_once(tmp_path):
    for name in ("a.png", "sub/b.png", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "again").symlink_to(tmp_path / "sub")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")  # another image
    everything = str(tmp_path)
    for given, names, repeated in (
        (
            [everything, f"{tmp_path}/sub/b.png", f"{tmp_path}/again"],
            ["a.png", "link.png", "sub/b.png", "sub/c.png"],
            3,
        ),
        ([f"{tmp_path}/again/c.png", everything, everything], ["c.png", "a.png", "link.png", "sub/b.png"], 5),
        ([f"{tmp_path}/sub", f"{tmp_path}/again/b.png", f"{tmp_path}/a.png"], ["b.png", "c.png", "a.png"], 1),
    ):
        plan = plan_shards(given, 10)
        assert [image.name for image in plan.loose] == names and plan.repeated == repeated
    (tmp_path / "sub" / "late.png").write_bytes(PNG)
    assert len(plan_shards([everything, f"{tmp_path}/sub/late.png"], 10).loose) == 5


def test_tars_in_a_folder_are_shards(tmp_path, make_tar):
    (tmp_path / "w" / "sub").mkdir(parents=True)
    make_tar(tmp_path / "w" / "sub" / "s-1.tar", [("a.png", PNG)])
    (tmp_path / "w" / "b.png").write_bytes(PNG)
    plan = plan_shards([str(tmp_path / "w"), str(tmp_path / "w" / "sub" / "s-1.tar")], 10)
    assert [(task.name, keys(task)) for task in plan.shards] == [("s-1", ["a"]), ("images-00000", ["b"])]
    assert plan.repeated == 1 and not plan.passed_over


def test_inputs_change_when_what_goes_in_changes(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    before = plan_shards([str(tmp_path)], 10).shards[0].inputs
    assert plan_shards([str(tmp_path)], 10).shards[0].inputs == before
    path.write_bytes(PNG + b"x")
    assert plan_shards([str(tmp_path)], 10).shards[0].inputs != before


def test_errors_are_one_sentence(tmp_path, make_tar):
    with pytest.raises(ValueError, match=r"nothing.png does not exist: give image files, folders"):
        plan_shards([str(tmp_path / "nothing.png")], 10)
    with pytest.raises(ValueError, match=r"No images in .*: give image files, folders"):
        plan_shards([str(tmp_path)], 10)
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        make_tar(tmp_path / folder / "same.tar", [("a.png", PNG)])
    with pytest.raises(
        ValueError, match=r"same.tar and .*same.tar would both become the shard same: tokenize them into different"
    ):
        plan_shards([f"{tmp_path}/{{x,y}}/same.tar"], 10)
    for name in ("images-00000", "manifest"):
        with pytest.raises(ValueError, match=rf"would become {name}.json, a file name that vistok uses itself"):
            plan_shards([str(make_tar(tmp_path / f"{name}.tar", [("a.png", PNG)]))], 10)
