from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.scenes.tiny_scenes import TinyScene

SHARED_DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture
def tiny(tmp_path: Path) -> TinyScene:
    return TinyScene(tmp_path / "scene")


@pytest.fixture
def points() -> np.ndarray:
    """World points in front of all cameras of a tiny scene."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real captures in ../shared/data, which are not part of the repository")
    return SHARED_DATA
