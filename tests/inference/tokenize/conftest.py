"""Commands in processes that begin with vistok imported."""

import pytest
from prepared import TOKENIZE, Program


@pytest.fixture
def start():
    """Start tokenize-images in a process of its own, after the code `before`; what has not ended with the test is killed."""
    programs = []

    def begin(arguments, before="", **variables):
        programs.append(Program(f"{before}\n{TOKENIZE}", arguments, **variables))
        return programs[-1]

    yield begin
    for program in programs:
        program.close()
