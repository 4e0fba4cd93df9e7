import numpy as np
import pytest
import torch

from host_syncs import HostSyncs, no_host_syncs

VALUES = torch.arange(6.0)
WAITS = {
    "a tensor of Python values": lambda: VALUES + torch.tensor(1.0),
    "a number": lambda: float(VALUES.sum()),
    "a condition": lambda: bool(VALUES.any()),
    "nonzero": lambda: VALUES.nonzero(),
    "a mask": lambda: VALUES[VALUES > 2],
    "writing by a mask": lambda: VALUES.clone().index_put_((VALUES > 2,), torch.ones(())),
    "masked_select": lambda: VALUES.masked_select(VALUES > 2),
    "unique": lambda: VALUES.unique(),
    "equal": lambda: torch.equal(VALUES, VALUES),
    "a count of each": lambda: VALUES.long().bincount(),
    "a list": lambda: VALUES.tolist(),
    "an array": lambda: VALUES.numpy(),
    "an array by numpy": lambda: np.asarray(VALUES),
    "a copy on the host": lambda: VALUES.cpu(),
}


@pytest.mark.parametrize("work", WAITS.values(), ids=WAITS)
def test_what_waits_is_counted(work):
    with HostSyncs() as syncs:
        work()
    assert len(syncs.found) == 1


def test_what_does_not_wait_is_not_counted():
    with no_host_syncs():
        values = VALUES.to("meta", non_blocking=True)
        values[torch.zeros(2, dtype=torch.long, device="meta")].sort()
        torch.where(VALUES > 2, VALUES, 0.0).double().argmax()


def test_a_blocking_copy_between_devices_is_counted():
    with HostSyncs() as syncs:
        VALUES.to("meta")
        torch.empty(6, device="meta").copy_(VALUES)
    assert syncs.found == [f"{name} at elsewhere: it blocks between devices" for name in ("_to_copy", "copy_")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch raises itself where there is a GPU")
def test_a_wait_fails_the_block():
    with (
        pytest.raises(AssertionError, match="this would wait for a GPU: nonzero at elsewhere: the size"),
        no_host_syncs(),
    ):
        VALUES.nonzero()
