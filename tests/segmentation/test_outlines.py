"""Masks of single photos."""

from __future__ import annotations

import numpy as np

from unscene.segmentation.outlines import drawn_along_edges, tidied

Y, X = np.mgrid[:60, :80]
DISK = np.hypot(Y - 30, X - 40) < 16


def photo() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 12, (60, 80, 3))
    return (np.where(DISK[..., None], [200, 60, 40], [60, 120, 90]) + noise).astype(np.uint8)


def test_an_outline_moves_to_the_edge() -> None:
    rough = np.hypot(Y - 31, X - 41) < 16
    assert (rough ^ DISK).sum() > 40
    assert (drawn_along_edges(photo(), rough) ^ DISK).sum() <= 8


def test_an_outline_moves_no_farther_than_its_band() -> None:
    small = np.hypot(Y - 30, X - 40) < 8
    moved = drawn_along_edges(photo(), small, band=2)
    assert not (moved & (np.hypot(Y - 30, X - 40) > 12)).any()


def test_an_empty_mask_and_a_full_one_stay() -> None:
    for mask in (np.zeros_like(DISK), np.ones_like(DISK)):
        assert (drawn_along_edges(photo(), mask) == mask).all()
        assert (tidied(mask) == mask).all()


def test_holes_are_filled_and_specks_dropped() -> None:
    mask = DISK.copy()
    mask[30, 40] = False
    mask[2:4, 2:4] = True
    assert (tidied(mask) == tidied(DISK)).all()
    assert not tidied(mask)[2, 2]
    assert tidied(mask)[30, 40]


def test_a_ring_keeps_its_hole() -> None:
    ring = DISK & (np.hypot(Y - 30, X - 40) > 8)
    assert not tidied(ring)[30, 40]
