"""Frames of a video: the sharpest of each stretch, upright, and never twice."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from unscene.capture.capture_error import CaptureError
from unscene.capture.video import is_video, sharpest_frames, sharpness
from unscene.training.events import Event, ItemDone, ignore

SHARP = {2, 8, 14, 17}  # frames of 20 that are not blurred


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("video") / "CLIP.MP4"
    random = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
    for frame in range(20):
        pixels = cv2.resize(random.integers(0, 256, (32, 48, 3), np.uint8), (96, 64))
        writer.write(pixels if frame in SHARP else cv2.GaussianBlur(pixels, (0, 0), 3))
    writer.release()
    return file


def numbers(folder: Path) -> list[int]:
    return sorted(int(file.stem.removeprefix("frame_")) for file in folder.iterdir())


def test_the_sharpest_of_each_stretch_is_taken(video: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    sharpest_frames(video, tmp_path, 4, events.append)
    assert numbers(tmp_path) == sorted(SHARP)
    done = [event for event in events if isinstance(event, ItemDone)]
    assert [(event.done, event.total) for event in done] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_frames_are_the_video_s(video: Path, tmp_path: Path) -> None:
    sharpest_frames(video, tmp_path, 4, ignore)
    capture = cv2.VideoCapture(str(video))
    frames = [capture.read()[1] for _ in range(20)]
    for number in SHARP:
        taken = cv2.imread(str(tmp_path / f"frame_{number:06}.jpg"))
        assert taken is not None and abs(taken.astype(float) - frames[number]).mean() < 15 < 3 * min(
            abs(taken.astype(float) - frames[other]).mean() for other in range(20) if other != number
        )


def test_what_was_interrupted_goes_on(video: Path, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, ItemDone) and event.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sharpest_frames(video, tmp_path, 4, stop)
    assert numbers(tmp_path) == [2, 8]
    first = (tmp_path / "frame_000002.jpg").stat().st_mtime_ns
    sharpest_frames(video, tmp_path, 4, ignore)
    assert numbers(tmp_path) == sorted(SHARP) and (tmp_path / "frame_000002.jpg").stat().st_mtime_ns == first


def test_a_video_shorter_than_asked_gives_all_its_frames(video: Path, tmp_path: Path) -> None:
    sharpest_frames(video, tmp_path, 60, ignore)
    assert numbers(tmp_path) == list(range(20))


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mov"
    broken.write_bytes(b"\0" * 1000)
    assert is_video(broken) and not is_video(tmp_path) and not is_video(tmp_path / "none.mp4")
    with pytest.raises(CaptureError, match=r"expected a video .* convert it: ffmpeg -i broken.mov"):
        sharpest_frames(broken, tmp_path / "frames", 4, ignore)


def test_sharpness_does_not_depend_on_resolution() -> None:
    pixels = cv2.resize(np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8), (640, 360))
    larger = cv2.resize(pixels, (1280, 720), interpolation=cv2.INTER_CUBIC)
    blurred = cv2.GaussianBlur(pixels, (0, 0), 3)
    assert sharpness(larger) == pytest.approx(sharpness(pixels), rel=0.25)
    assert sharpness(blurred) < 0.3 * sharpness(pixels)
