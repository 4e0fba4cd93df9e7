"""Folders of token shards in each format, made once."""

import pytest

import vistok
from token_folders import write_folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def get(form):
        if form not in made:
            made[form] = write_folder(tmp_path_factory.mktemp(form) / "t", form)
        return made[form]

    return get


@pytest.fixture
def dataset(folders):
    return vistok.TokenDataset(folders("wds"))
