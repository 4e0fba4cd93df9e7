"""What a run calculates in."""

import pytest
from accelerate import PartialState

from runs import new_process
from vistok.train.launcher import this_process


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "no")])
def test_precision_auto_is_bfloat16_where_the_processor_has_it(monkeypatch, native, expected):
    monkeypatch.setattr("vistok.train.launcher.multiplies_bfloat16", lambda device: native)
    new_process()
    assert this_process("auto").mixed_precision == expected
    new_process()
    assert this_process("float32").mixed_precision == "no" and PartialState().num_processes == 1
