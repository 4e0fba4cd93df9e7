"""The commands as a user runs them, and tars to give them."""

import io
import tarfile

import pytest
from typer.testing import CliRunner

from vistok.inference.commands.detokenize_images import app as detokenize_app
from vistok.inference.commands.evaluate_tokenizer import app as evaluate_app
from vistok.inference.commands.tokenize_images import app as tokenize_app
from vistok.inference.commands.verify_tokens import app as verify_app


def run(app, *arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result.output + result.stderr


@pytest.fixture
def tokenize(tokenizer_folder):
    return lambda *arguments, model=tokenizer_folder, code=0: run(tokenize_app, *arguments, "--model", model, code=code)


@pytest.fixture
def detokenize(tokenizer_folder):
    return lambda *arguments, model=tokenizer_folder, code=0: run(
        detokenize_app, *arguments, "--model", model, code=code
    )


@pytest.fixture
def verify():
    return lambda *arguments, code=0: run(verify_app, *arguments, code=code)


@pytest.fixture
def evaluate_command(tokenizer_folder):
    return lambda *arguments, code=0: run(evaluate_app, tokenizer_folder, *arguments, code=code)


@pytest.fixture
def evaluate_several():
    return lambda *arguments, code=0: run(evaluate_app, *arguments, code=code)


@pytest.fixture
def make_tar():
    def make(path, members):
        with tarfile.open(path, "w") as tar:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return make
