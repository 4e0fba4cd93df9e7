"""torch.compile takes a search as one operation: no graph breaks, no warnings, no setting of the process touched."""

import subprocess
import sys
from pathlib import Path

import torch

import traced_quantizers
from processes import environment
from vistok.tokenizer.quantizers.search.nearest import nearest_codes


def test_searches_encoders_and_quantizers_are_traced_whole():
    program = Path(traced_quantizers.__file__)
    path = f"{environment()['PYTHONPATH']}:{program.parent}"
    given = [sys.executable, str(program)]
    # Tracing takes some 10 seconds of a processor, which others may share.
    done = subprocess.run(given, env=environment(PYTHONPATH=path), capture_output=True, text=True, timeout=300)
    assert done.stdout == "all traced\n", done.stderr


def test_the_operation_is_what_torch_asks_of_one():
    operation = torch.ops.vistok.nearest_codes.default
    vectors, codes = torch.randn(9, 3), torch.randn(7, 3)
    for exact in (True, False):
        torch.library.opcheck(operation, (vectors, codes, False, exact, None))
    assert torch.equal(operation(vectors, codes, False, True, None), nearest_codes(vectors, codes))
