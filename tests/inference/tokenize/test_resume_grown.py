"""A collection that grows: what is done stays, what is new goes into new shards."""

import json

import pytest

from samples import image_bytes, noise_image, stored_samples
from shard_files import contents

PNG = [image_bytes(noise_image(20, 20, index), "PNG") for index in range(12)]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in (1, 3, 5, 7, 9):
        (folder / f"{index:02d}.png").write_bytes(PNG[index])
    return folder


def sources(folder):
    return {
        path.stem: [sample.metadata()["source"] for sample in stored_samples(path)]
        for path in sorted(folder.glob("*.tar"))
    }


def test_new_images_go_into_new_shards(tokenize, photos, tmp_path):
    out = tmp_path / "out"
    tokenize(photos, "--out", out, "--shard-size", 2)
    before = contents(out)
    for index in (0, 4, 11):
        (photos / f"{index:02d}.png").write_bytes(PNG[index])
    (photos / "04.txt").write_bytes(b"caption")
    said = tokenize(photos, "--out", out, "--shard-size", 2)
    assert "2 written, 3 done before" in said
    assert "new         3 images since the last call, in new shards" in said
    assert sources(out) == {
        "images-00000": ["01.png", "03.png"],
        "images-00001": ["05.png", "07.png"],
        "images-00002": ["09.png"],
        "images-00003": ["00.png", "04.png"],
        "images-00004": ["11.png"],
    }
    after = contents(out)
    assert all(after[name] == content for name, content in before.items() if name != "manifest.json")
    assert "0 written, 5 done before" in tokenize(photos, "--out", out, "--shard-size", 2)
    assert "0 written, 5 done before" in tokenize(photos, "--out", out)  # whatever the size of new shards


def test_a_shard_that_is_missing_is_made_as_it_was(tokenize, photos, tmp_path):
    out = tmp_path / "out"
    (photos / "05.png").write_bytes(b"broken")
    tokenize(photos, "--out", out, "--shard-size", 1)
    (photos / "06.png").write_bytes(PNG[6])
    tokenize(photos, "--out", out, "--shard-size", 1)
    whole = contents(out)
    for lost in ("images-00002", "images-00005"):
        (out / f"{lost}.json").unlink()
    assert "2 written, 4 done before" in tokenize(photos, "--out", out, "--shard-size", 1)
    assert contents(out) == whole


def test_keys_of_new_images_are_not_those_of_old_ones(tokenize, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name in ("a.png", "b_gif.png"):
        (photos / name).write_bytes(PNG[0])
    tokenize(photos, "--out", out)
    for name in ("a.gif", "b.gif", "b.png"):
        (photos / name).write_bytes(image_bytes(noise_image(9, 9), "GIF"))
    tokenize(photos, "--out", out)
    keys = {sample.metadata()["source"]: sample.key for path in out.glob("*.tar") for sample in stored_samples(path)}
    assert keys == {"a.png": "a", "b_gif.png": "b_gif", "a.gif": "a_gif", "b.gif": "b_gif_2", "b.png": "b_png"}


def test_another_collection_gets_shards_of_its_own(tokenize, photos, tmp_path):
    other, out = tmp_path / "other", tmp_path / "out"
    other.mkdir()
    (other / "x.png").write_bytes(PNG[2])
    tokenize(photos, "--out", out)
    said = tokenize(other, "--out", out)
    assert "1 written, 0 done before" in said and "not of this call: images-00000.tar" in said
    assert sources(out)["images-00001"] == ["x.png"]
    assert json.loads((out / "manifest.json").read_text())["images"] == 6


def test_a_collection_that_lost_an_image_is_refused(tokenize, photos, tmp_path):
    tokenize(photos, "--out", tmp_path / "out", "--shard-size", 2)
    (photos / "07.png").unlink()
    said = tokenize(photos, "--out", tmp_path / "out", "--shard-size", 2, code=2)
    assert "images-00001.tar holds 07.png, which is not among the images given now: give it too, or use another" in said


def test_a_damaged_shard_of_a_folder_that_grew_is_named(tokenize, photos, tmp_path):
    shard = tmp_path / "out" / "images-00001.tar"
    tokenize(photos, "--out", tmp_path / "out", "--shard-size", 2)
    shard.write_bytes(shard.read_bytes().replace(b"07.tokens.npy", b"07.t0kens.npy"))
    (photos / "00.png").write_bytes(PNG[0])
    said = tokenize(photos, "--out", tmp_path / "out", "--shard-size", 2, code=1)
    assert f"{shard} is not a whole token shard ({shard} has a broken header at byte" in said
    assert "): remove it, and the same command makes it again." in said
    shard.unlink()
    assert "2 written, 2 done before" in tokenize(photos, "--out", tmp_path / "out", "--shard-size", 2)


def test_images_of_one_name_are_known_by_their_bytes(tokenize, tmp_path):
    for index, name in enumerate("abcd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image.png").write_bytes(PNG[index])

    def given(names):
        return [tmp_path / name / "image.png" for name in names]

    out = tmp_path / "out"
    tokenize(*given("cdb"), "--out", out, "--shard-size", 1)
    for names, done in (("abcd", "1 written, 3 done"), ("dcba", "0 written, 4 done")):
        assert f"{done} before" in tokenize(*given(names), "--out", out, "--shard-size", 1)
    keys = [sample.key for path in sorted(out.glob("*.tar")) for sample in stored_samples(path)]
    assert keys == ["image_png", "image_png_2", "image_png_3", "image_png_4"]


def test_a_missing_line_of_a_list_is_the_same_wherever_it_is(tokenize, photos, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{photos}/01.png\n{photos}/gone.png\n")
    tokenize(listed, "--out", tmp_path / "out")
    listed.write_text(f"{photos}/03.png\n{photos}/01.png\n{photos}/gone.png\n")
    (photos / "01.png").touch()
    assert "1 written, 1 done before" in tokenize(listed, "--out", tmp_path / "out")
