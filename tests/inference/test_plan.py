import io
import tarfile

import pytest

from samples import noise_image, picture_bytes
from vistok.inference.plan import plan_shards

PNG = picture_bytes(noise_image(8, 8), "PNG")


def make_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


def keys(shard):
    return [sample.key for sample in shard.samples()]


def test_loose_pictures_are_gathered_in_order(tmp_path):
    for name in ("b.png", "a.png", "sub/c.png", "note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    plan = plan_shards([str(tmp_path)], shard_size=2)
    assert [(shard.name, keys(shard)) for shard in plan.shards] == [
        ("pictures-00000", ["a", "b"]),
        ("pictures-00001", ["sub/c"]),
    ]
    assert plan.passed_over == 1


def test_names_that_differ_in_ending_or_dots_keep_different_keys(tmp_path):
    for name in ("a.png", "a.jpg", "x.y.png", "x_y.png", "one.webp"):
        (tmp_path / name).write_bytes(PNG)
    samples = plan_shards([str(tmp_path)], 10).shards[0].samples()
    found = {sample.source: sample.key for sample in samples}
    assert len(set(found.values())) == 5
    assert found["a.png"] == "a_png" and found["a.jpg"] == "a_jpg" and found["one.webp"] == "one"
    assert all("." not in key for key in found.values())


def test_a_tar_keeps_its_name_and_keys(tmp_path):
    members = {"x/1.jpg": PNG, "x/1.json": b"{}", "2.cls": b"7", "2.PNG": PNG, "3.txt": b"no picture"}
    shard = plan_shards([make_tar(tmp_path / "photos-7.tar", members)], 10).shards[0]
    assert shard.name == "photos-7" and keys(shard) == ["x/1", "2", "3"]
    assert [sample.entry is None for sample in shard.samples()] == [False, False, True]


def test_lists_and_brace_ranges(tmp_path):
    for number in range(3):
        make_tar(tmp_path / f"s-{number}.tar", {"a.png": PNG})
    (tmp_path / "single.png").write_bytes(PNG)
    listed = tmp_path / "list.txt"
    listed.write_text(f"{tmp_path}/s-{{0..1}}.tar\n\n{tmp_path}/single.png\n")
    assert [shard.name for shard in plan_shards([str(listed)], 10).shards] == ["s-0", "s-1", "pictures-00000"]
    assert [shard.name for shard in plan_shards([f"{tmp_path}/s-{{0..2}}.tar"], 10).shards] == ["s-0", "s-1", "s-2"]


def test_inputs_change_when_what_goes_in_changes(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    before = plan_shards([str(tmp_path)], 10).shards[0].inputs
    assert plan_shards([str(tmp_path)], 10).shards[0].inputs == before
    path.write_bytes(PNG + b"x")
    assert plan_shards([str(tmp_path)], 10).shards[0].inputs != before


def test_errors_are_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"nothing.png does not exist: give picture files, folders"):
        plan_shards([str(tmp_path / "nothing.png")], 10)
    with pytest.raises(ValueError, match=r"No pictures in .*: give picture files, folders"):
        plan_shards([str(tmp_path)], 10)
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        make_tar(tmp_path / folder / "same.tar", {"a.png": PNG})
    with pytest.raises(
        ValueError, match=r"same.tar and .*same.tar would both become same.tar: tokenize them into different"
    ):
        plan_shards([f"{tmp_path}/{{x,y}}/same.tar"], 10)
    with pytest.raises(ValueError, match=r"has a name that vistok gives to shards of loose pictures: rename it"):
        plan_shards([make_tar(tmp_path / "pictures-00000.tar", {"a.png": PNG})], 10)
