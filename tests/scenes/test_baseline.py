"""All cameras at one point are refused, in every format; any baseline that is one is not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.scenes.tiny_scenes import FOCAL, PRINCIPAL, TinyScene
from unscene.scenes.load import load_scene
from unscene.scenes.scene import SceneError

UTM = np.array([412_345.678, 5_312_345.678, 512.3])
ECEF = np.array([4_177_000.1, 855_000.2, 4_728_000.3])
HERE = np.array([-0.547, -0.716, 0.483])


def write(tiny: TinyScene, format: str) -> None:
    tiny.photos()
    match format:
        case "nerfstudio":
            tiny.json(tiny.transforms())
        case "llff":
            tiny.llff()
        case _:
            tiny.colmap("PINHOLE", [*FOCAL, *PRINCIPAL], text=format == "text")


@pytest.mark.parametrize("format", ["nerfstudio", "llff", "binary", "text"])
@pytest.mark.parametrize("place", [np.zeros(3), HERE, UTM], ids=["origin", "near", "UTM"])
def test_turning_on_the_spot_is_refused(tiny: TinyScene, format: str, place: np.ndarray) -> None:
    tiny.poses[:, :, 3] = place
    write(tiny, format)
    with pytest.raises(SceneError) as caught:
        load_scene(tiny.root)
    assert str(caught.value) == (
        "expected photos from different places, got 6 whose cameras all stand at one point (images/000.png, "
        "images/001.png, images/002.png, ...), which shows no depth; walk around the object, or export the positions "
        "of the cameras too."
    )


@pytest.mark.parametrize(
    ("place", "noise"), [(HERE, 1e-7), (30 * HERE, 1e-6), (ECEF, 1e-9), (UTM, 1e-8)], ids=["near", "far", "ECEF", "UTM"]
)
def test_what_rounding_makes_of_one_point(tiny: TinyScene, place: np.ndarray, noise: float) -> None:
    tiny.poses[:, :, 3] = place + noise * np.random.default_rng(0).standard_normal((6, 3))
    write(tiny, "nerfstudio")
    with pytest.raises(SceneError, match="at one point"):
        load_scene(tiny.root)


@pytest.mark.parametrize("format", ["nerfstudio", "llff"])
@pytest.mark.parametrize(
    ("place", "scale"),
    [(0, 1e-6), (HERE, 1e-4), (10 * HERE, 1e-3), (UTM, 1.0), (UTM, 0.1), (ECEF, 1.0)],
    ids=["tiny units", "small baseline", "small and far", "UTM", "UTM small", "ECEF"],
)
def test_a_small_baseline_loads(tiny: TinyScene, format: str, place: np.ndarray | float, scale: float) -> None:
    tiny.poses[:, :, 3] = place + scale * tiny.poses[:, :, 3]
    write(tiny, format)
    assert len(load_scene(tiny.root)) == 6


@pytest.mark.parametrize(("baseline", "told"), [(1e-5, True), (3e-3, False)])
@pytest.mark.parametrize("place", [0, UTM], ids=["origin", "UTM"])
def test_the_distance_to_the_points_says_what_is_small(
    tiny: TinyScene, baseline: float, told: bool, place: np.ndarray | float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny scene's points are within 10 of its origin, 5 in the median."""
    import pycolmap

    add = pycolmap.Reconstruction.add_point3D
    monkeypatch.setattr(pycolmap.Reconstruction, "add_point3D", lambda self, xyz, *rest: add(self, xyz + place, *rest))
    tiny.poses[:, :, 3] = place + baseline * tiny.poses[:, :, 3]
    write(tiny, "binary")
    if told:
        with pytest.raises(SceneError, match="at one point"):
            load_scene(tiny.root)
    else:
        assert len(load_scene(tiny.root)) == 6


def test_one_camera_apart_is_enough(tiny: TinyScene) -> None:
    tiny.poses[:5, :, 3] = HERE
    write(tiny, "nerfstudio")
    assert len(load_scene(tiny.root)) == 6
