"""The benchmark's cases are what its tables say they are."""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

import pytest
import torch

from unscene.geometry.turntable import rotation_angle

BENCHMARK = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "novel_views.py"))
ARGUMENTS = argparse.Namespace(seed=1, size=24)


def test_every_range_of_angles_gets_a_view_of_every_object() -> None:
    cases = BENCHMARK["object_cases"](0, ARGUMENTS)
    for case, (low, high) in zip(cases, BENCHMARK["RANGES"], strict=True):
        assert low < rotation_angle(case.source.camera, case.target) == case.angle <= high
        assert case.truth.shape == (24, 24, 3) and case.outline.any()
    again = BENCHMARK["object_cases"](0, ARGUMENTS)
    assert all(
        torch.equal(a.truth, b.truth) and torch.equal(a.noise, b.noise) for a, b in zip(cases, again, strict=True)
    )


def test_lettered_objects_are_turned_by_thirty_degrees() -> None:
    case = BENCHMARK["lettered_case"](1, ARGUMENTS)
    assert case.angle == pytest.approx(29, abs=1.5)  # along a circle 15 degrees above the horizon


def test_unlike_budgets_are_refused(tmp_path: Path) -> None:
    for run, steps in (("a", 10), ("b", 20)):
        (tmp_path / run).mkdir()
        (tmp_path / run / "settings.json").write_text(f'{{"steps": {steps}, "shards": "nowhere"}}')
        (tmp_path / run / "losses.jsonl").write_text(f'{{"stage": "invs", "step": {steps}, "loss": 1}}\n')
    with pytest.raises(SystemExit, match=r"expected the budget of .*a, got other values for steps"):
        BENCHMARK["check_budgets"]([tmp_path / "a", tmp_path / "b"], 1)
