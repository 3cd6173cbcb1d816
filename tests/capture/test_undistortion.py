"""Pinhole photos of distorted ones, and where features are in them."""

from __future__ import annotations

import cv2
import numpy as np
import pycolmap
import pytest

from tests.capture.rooms import Lens, arc, photo
from unscene.capture.undistortion import Pinhole, choose_pinholes

DISTORTED = Lens(k1=-0.15, size=(400, 300), focal=300)
(POSE,) = arc(1)


def pinhole(params: list[float], size: tuple[int, int] = (400, 300), *, seen_at: tuple[int, int] = (400, 300),
            model: str = "RADIAL") -> Pinhole:  # fmt: skip
    reconstruction = pycolmap.Reconstruction()
    width, height = seen_at
    camera = pycolmap.Camera(camera_id=1, model=model, width=width, height=height, params=params)
    reconstruction.add_camera_with_trivial_rig(camera)
    return choose_pinholes(reconstruction, size)[1]


def rendered(camera: Pinhole) -> np.ndarray:
    """What a camera without distortion sees; cameras of `rooms` have their principal point in the middle."""
    assert camera.principal == pytest.approx((camera.size[0] / 2, camera.size[1] / 2))
    assert camera.focal[0] == pytest.approx(camera.focal[1], rel=1e-3)
    return photo(POSE, Lens(camera.focal[0], size=camera.size))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(abs(a.astype(float) - b).mean())


def test_a_distorted_photo_becomes_that_of_a_pinhole_camera() -> None:
    camera = pinhole([300, 200, 150, -0.15, 0])
    assert difference(camera.photo(photo(POSE, DISTORTED)), rendered(camera)) < 3
    assert difference(photo(POSE, DISTORTED), rendered(camera)) > 9


def test_a_lens_found_in_small_photos_holds_for_the_large_ones() -> None:
    small = pinhole([150, 100, 75, -0.15, 0], seen_at=(200, 150))
    assert small.focal == pytest.approx(pinhole([300, 200, 150, -0.15, 0]).focal)
    assert difference(small.photo(photo(POSE, DISTORTED)), rendered(small)) < 3


@pytest.mark.parametrize("size", [(320, 240), (300, 300), (240, 320), (400, 150)])
def test_photos_of_another_shape_are_cropped_to_the_scene_s(size: tuple[int, int]) -> None:
    camera = pinhole([300, 200, 150, -0.15, 0], size)
    made = camera.photo(photo(POSE, DISTORTED))
    assert made.shape == (size[1], size[0], 3)
    assert difference(made, rendered(camera)) < 6


@pytest.mark.parametrize(("model", "params"), [
    ("RADIAL", [300, 200, 150, -0.15, 0.02]),
    ("OPENCV_FISHEYE", [200, 200, 200, 150, 0.02, -0.01, 0, 0]),
])  # fmt: skip
def test_features_go_where_their_pixels_go(model: str, params: list[float]) -> None:
    camera = pinhole(params, (360, 300), model=model)
    spots = np.array([[120.5, 90.5], [200.5, 150.5], [260.5, 200.5], [180.5, 240.5]])
    pixels = np.zeros((300, 400, 3), np.uint8)
    for x, y in (spots - 0.5).round().astype(int).tolist():
        cv2.circle(pixels, (x, y), 3, (255, 255, 255), -1)
    made = camera.photo(pixels)
    for x, y in camera.points(spots):
        window = made[round(y) - 8 : round(y) + 9, round(x) - 8 : round(x) + 9, 0].astype(float)
        rows, columns = np.mgrid[round(y) - 8 : round(y) + 9, round(x) - 8 : round(x) + 9] + 0.5
        centre = (window * columns).sum() / window.sum(), (window * rows).sum() / window.sum()
        assert centre == pytest.approx((x, y), abs=0.25)


def test_no_pixel_of_a_pinhole_photo_is_from_outside() -> None:
    for k1 in (-0.2, 0.0, 0.2):
        camera = pinhole([300, 200, 150, k1, 0], (360, 300))
        assert camera.photo(np.full((300, 400, 3), 255, np.uint8)).min() == 255
        corners = np.array([[0, 0], [360, 300]], float)
        plane = (corners - camera.principal) / camera.focal
        shown = np.array([camera.lens.img_from_cam(np.array([*xy, 1.0])) for xy in plane])
        assert (shown >= -0.01).all() and (shown <= [400.01, 300.01]).all()
