"""Parts of torch's work side by side."""

from __future__ import annotations

import threading

import pytest
import torch

from unscene.threads import shared_out, torch_on_one_thread


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_parts_are_worked_on_side_by_side_each_on_one_thread(threads: int) -> None:
    meeting = threading.Barrier(threads, timeout=10)  # broken unless so many are there at once

    def square(part: int) -> tuple[int, int]:
        meeting.wait()
        return part**2, torch.get_num_threads()

    assert shared_out(square, range(6)) == [(part**2, 1) for part in range(6)]
    assert torch.get_num_threads() == threads
    with torch_on_one_thread():  # as within a step of a field
        assert shared_out(square, range(2)) == [(0, 1), (1, 1)]


def test_what_fails_in_a_part_is_told(threads: int) -> None:
    with pytest.raises(ZeroDivisionError):
        shared_out(lambda part: 1 // part, [1, 0])
    assert torch.get_num_threads() == threads
