import pytest
import torch

from vistok.tokenizer.numerics.transfer import in_flight, to_device, to_host


@pytest.mark.parametrize(("total", "count"), [(0, 3), (1, 3), (3, 3), (7, 3), (4, 1)])
def test_results_come_in_order_and_only_some_are_begun(total, count):
    begun, finished = [], []

    def begin(number):
        assert len(begun) - len(finished) < count
        begun.append(number)

        def finish():
            finished.append(number)
            return number

        return finish

    assert list(in_flight((begin(number) for number in range(total)), count)) == list(range(total))
    assert begun == finished == list(range(total))


def test_the_next_is_begun_before_the_first_is_waited_for():
    events = []

    def begin(number):
        events.append(f"begin {number}")
        return lambda: events.append(f"finish {number}")

    list(in_flight(map(begin, range(4)), 2))
    assert events == ["begin 0", "begin 1", "finish 0", "begin 2", "finish 1", "begin 3", "finish 2", "finish 3"]


def test_on_a_cpu_nothing_is_copied():
    values = torch.rand(3)
    assert to_device(values, torch.device("cpu")) is values
    assert to_host(values)()[0] is values


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_values_survive_a_ring_of_copies():
    device = torch.device("cuda", 0)
    sent = [torch.rand(1 << 20) for _ in range(20)]
    kept = [values.clone() for values in sent]
    finish = []
    for values in sent:
        there = to_device(values, device)
        values.zero_()  # it was staged: the host may go on with it
        finish.append(to_host(there * 2))
        del there
    received = [each()[0] for each in finish]
    assert all(torch.equal(back, values * 2) for back, values in zip(received, kept, strict=True))
    assert not any(back.is_pinned() for back in received)
    turned = torch.rand(4, 5, 6).permute(2, 0, 1)
    assert torch.equal(to_host(to_device(turned, device))()[0], turned)
