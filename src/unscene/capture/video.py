"""The sharpest frame of each stretch of a video, as photos."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from unscene.capture.capture_error import CaptureError
from unscene.files import write_bytes
from unscene.training.events import ItemDone, Watch

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".mpg", ".mpeg", ".3gp", ".wmv")
STAGE = "video frames"
JUDGED_WIDTH = 640  # pixels at which sharpness is judged: finer is noise of the sensor
JPEG_QUALITY = 97


def is_video(path: Path) -> bool:
    """Whether a path is a file called like a video."""
    return path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES


def sharpest_frames(video: Path, folder: Path, count: int, watch: Watch) -> None:
    """Write the sharpest frame of each of ``count`` equal stretches of a video to ``folder`` as JPEG.

    Files are called by the number of their frame in the video, which stands as the video asks to be shown. Stretches
    of which the folder has a frame are passed over; a video of fewer frames gives all. Raises CaptureError for a file
    that is no video.
    """
    frames = _count_frames(video)
    bounds = np.linspace(0, frames, min(count, frames) + 1).round().astype(int)
    done = {int(file.stem.removeprefix("frame_")) for file in folder.glob("frame_*.jpg")}
    capture, position = _open(video), 0
    for stretch, (start, end) in enumerate(pairwise(bounds), start=1):
        if not any(start <= frame < end for frame in done):
            best = -1.0, start, np.zeros(0)
            while position < end and capture.grab():
                read, pixels = capture.retrieve() if position >= start else (False, None)
                if read and pixels is not None and (sharp := sharpness(pixels)) > best[0]:
                    best = sharp, position, pixels
                position += 1
            if best[0] >= 0:  # else the container promises more frames than there are
                encoded = cv2.imencode(".jpg", best[2], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
                write_bytes(folder / f"frame_{best[1]:06}.jpg", encoded.tobytes())
        watch(ItemDone(STAGE, stretch, len(bounds) - 1))
    capture.release()


def sharpness(pixels: np.ndarray) -> float:
    """Variance of the Laplacian of a photo H W 3 or H W, at one scale for all."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY) if pixels.ndim == 3 else pixels
    zoom = JUDGED_WIDTH / max(grey.shape)
    small = cv2.resize(grey, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA) if zoom < 1 else grey
    return float(cv2.Laplacian(small, cv2.CV_32F).var())


def _open(video: Path) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(video))
    if not capture.isOpened():
        raise CaptureError(
            f"{video}: expected a video that OpenCV's ffmpeg reads (H.264, HEVC, VP9), but it cannot be opened; copy "
            f"it again, or convert it: ffmpeg -i {video.name} -c:v libx264 video.mp4"
        )
    return capture


def _count_frames(video: Path) -> int:
    """How many frames a video has, by its container, else counted."""
    capture = _open(video)
    frames = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if frames <= 0:
        frames = 0
        while capture.grab():
            frames += 1
    capture.release()
    if not frames:
        raise CaptureError(f"{video}: expected a video with frames, but none can be decoded; copy it again.")
    return frames
