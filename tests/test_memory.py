"""Memory of the machine and of the process, where the system tells and where it tells only a part."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from unscene.memory import machine_memory_gb, peak_memory_gb, release_freed_memory


def test_peak_memory_is_in_gigabytes_and_only_rises() -> None:
    before = peak_memory_gb()
    block = torch.zeros(int(before * 1e9 / 4) + 25_000_000)  # touched: larger than all so far by 0.1 GB
    assert before + 0.05 < peak_memory_gb() < before * 2 + 1
    del block
    assert peak_memory_gb() > before


def test_windows_tells_the_peak_through_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    for told, wanted in ((SimpleNamespace(rss=1e9, peak_wset=2e9), 2.0), (SimpleNamespace(rss=1e9), 1.0)):
        monkeypatch.setattr(psutil.Process, "memory_info", lambda self, told=told: told)
        assert peak_memory_gb() == wanted


def test_some_memory_is_free_but_not_more_than_there_is() -> None:
    total, free = machine_memory_gb()
    assert 0.1 < free < total


def test_a_system_that_does_not_tell_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError

    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    assert machine_memory_gb() == (0.0, 0.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's way of keeping memory")
def test_freed_memory_goes_back_to_the_system() -> None:
    """Blocks below glibc's threshold stay with the process, a last one in their way."""
    kept = [np.ones(1 << 13) for _ in range(8000)]  # 64 KB each
    last = kept.pop()
    full = psutil.Process().memory_info().rss
    del kept
    release_freed_memory()
    assert full - psutil.Process().memory_info().rss > 0.4e9 and last.any()
