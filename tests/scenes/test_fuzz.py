"""Three hundred captures, whole and damaged; `python -m tests.fuzz_scenes` tries as many as wanted."""

from __future__ import annotations

from tests.fuzz_scenes import fuzz


def test_captures_load_or_are_refused_in_words() -> None:
    ends = fuzz(300, seed=None)
    assert min(ends["scene"], ends["error"]) >= 60
