"""Cutting a ball off the floor that it stands on, with and without its shadow."""

from __future__ import annotations

import numpy as np
import pytest

from tests.segmentation.stage import stage
from unscene.segmentation.shadows import with_shadow
from unscene.segmentation.surface_cut import Constraints, cut_surface, overlap, with_islands


def unknown(count: int) -> Constraints:
    return Constraints(np.zeros(count, bool), np.zeros(count, bool), np.zeros(count, bool))


def test_the_floor_is_the_one_plane() -> None:
    region, ball, _ = stage()
    (plane,) = region.planes
    assert np.abs(plane.normal) == pytest.approx([0, 1, 0], abs=0.01)
    assert plane.members[~ball].mean() > 0.99


def test_a_rough_set_becomes_the_ball() -> None:
    region, ball, _ = stage()
    rough = np.linalg.norm(region.voxels.points - [1, 5, 0], axis=1) < 5
    assert overlap(rough, ball) < 0.8
    assert overlap(cut_surface(region, rough, unknown(len(region)), growth=0.5), ball) > 0.97


def test_what_is_known_is_respected() -> None:
    region, ball, shadow = stage()
    known = unknown(len(region))
    known.inside[shadow] = True
    known.outside[ball & (region.voxels.points[:, 1] > 8)] = True
    labels = cut_surface(region, ball, known, growth=0.5)
    assert labels[known.inside].all() and not labels[known.outside].any()


def test_evidence_overrules_colours() -> None:
    region, ball, _ = stage()
    top = region.voxels.points[:, 1] > 6
    evidence = np.where(ball & top, -20.0, 0.0)
    labels = cut_surface(region, ball, unknown(len(region)), growth=0.5, evidence=evidence)
    assert not labels[top].any() and labels[ball & ~top].mean() > 0.9


def test_islands_are_filled_unless_the_user_said_no() -> None:
    region, ball, _ = stage()
    hole = ball & (region.voxels.points[:, 1] > 9)
    known = unknown(len(region))
    assert (with_islands(region.graph, ball & ~hole, known) == ball).all()
    known.apart[np.flatnonzero(hole)[0]] = True
    assert not with_islands(region.graph, ball & ~hole, known)[hole].any()


def test_a_shadow_goes_with_the_ball() -> None:
    region, ball, shadow = stage(darkened=0.3)
    found = with_shadow(region, ball)
    assert found[ball].all()
    assert overlap(found & ~ball, shadow) > 0.75


def test_a_floor_without_a_shadow_stays() -> None:
    region, ball, _ = stage()
    assert (with_shadow(region, ball) & ~ball).mean() < 0.005


def test_a_dark_carpet_is_no_shadow() -> None:
    region, ball, carpet = stage(carpet=True)
    assert (with_shadow(region, ball) & carpet).sum() < 0.05 * carpet.sum()


def test_what_stands_on_nothing_has_no_shadow_here() -> None:
    region, ball, _ = stage(darkened=0.3)
    assert (with_shadow(type(region)(region.voxels, region.graph, []), ball) == ball).all()
