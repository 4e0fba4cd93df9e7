import os
import time

import pytest

from vistok.images.finding.index import folder_files


def make_files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_everything_that_is_no_folder_is_listed_in_order(tmp_path):
    make_files(tmp_path, "z.JPG", "sub/a.png", "sub/deep/b.webp", "skip.txt", "sub.png", "out/x.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to("nothing")
    (tmp_path / "round.png").symlink_to("round.png")
    (tmp_path / "through.png").symlink_to("z.JPG/x")
    found = folder_files(str(tmp_path), excluded=str(tmp_path / "out"))
    assert found == sorted(
        [
            "gone.png",
            "pipe.png",
            "round.png",
            "skip.txt",
            "sub.png",
            "sub/a.png",
            "sub/deep/b.webp",
            "through.png",
            "z.JPG",
        ]
    )
    assert "out/x.png" in folder_files(f"{tmp_path}/")


def test_each_real_folder_once_and_under_its_real_path(tmp_path):
    make_files(tmp_path, "w/real/a.png", "far/b.png")
    (tmp_path / "w" / "linked").symlink_to(tmp_path / "far")
    (tmp_path / "w" / "a-second-way").symlink_to("real")
    (tmp_path / "w" / "real" / "up").symlink_to(tmp_path / "w")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "w" / "real")
    assert folder_files(str(tmp_path / "w")) == ["linked/b.png", "real/a.png"]


def test_of_two_links_the_first_in_order_is_taken_and_fewer_links_before_that(tmp_path):
    make_files(tmp_path, "far/sub/b.png", "other/c.png")
    (tmp_path / "w").mkdir()
    for link, target in (("m", "far"), ("k", "far/sub"), ("z", "other")):
        (tmp_path / "w" / link).symlink_to(tmp_path / target)
    (tmp_path / "far" / "a").symlink_to(tmp_path / "other")
    assert folder_files(str(tmp_path / "w")) == ["k/b.png", "z/c.png"]


def test_siblings_that_lead_to_one_another_take_no_time(tmp_path):
    for folder in range(12):
        make_files(tmp_path, f"{folder}/{folder}.png")
        for other in range(12):
            (tmp_path / str(folder) / f"to-{other}").symlink_to(f"../{other}")
    start = time.process_time()
    assert folder_files(str(tmp_path)) == sorted(f"{folder}/{folder}.png" for folder in range(12))
    assert time.process_time() - start < 2


def test_the_folder_left_out_is_not_entered_by_a_link_either(tmp_path):
    make_files(tmp_path, "w/a.png", "out/deep/b.png")
    (tmp_path / "w" / "link").symlink_to(tmp_path / "out")
    assert folder_files(str(tmp_path / "w"), excluded=str(tmp_path / "out")) == ["a.png"]
    assert folder_files(str(tmp_path / "out"), excluded=str(tmp_path / "out")) == ["deep/b.png"]  # it was asked for


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    opened = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return opened(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read every folder
    with pytest.raises(PermissionError, match="Permission denied: '.*closed'"):
        folder_files(str(tmp_path))


def test_a_link_of_which_nobody_knows_where_it_leads_is_an_error(tmp_path, monkeypatch):
    class Item:
        name, path = "link", f"{tmp_path}/link"

        def is_dir(self):
            raise PermissionError(13, "Permission denied", self.path)

    class Scan(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(os, "scandir", lambda path: Scan([Item()]))
    with pytest.raises(PermissionError, match="Permission denied: '.*link'"):
        folder_files(str(tmp_path))
