"""A flow decoder to start and to teach from."""

import pytest

from decoder_runs import train_decoder


@pytest.fixture(scope="session")
def flow_folder(tokenizer_folder, tmp_path_factory):
    """A tokenizer folder with a decoder that was trained by flow for four steps."""
    return train_decoder(tmp_path_factory.mktemp("flow"), tokenizer_folder, "flow", steps=4)
