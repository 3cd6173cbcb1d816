"""OpenCV's shift-map inpainting, in a process of its own.

It reads memory it never wrote, so that its result depends on what the process did before, and it crashes on some
input. A fresh process whose allocator hands out zeros gives the same picture every time, and survives.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys

import cv2
import numpy as np

CLEAN_MEMORY = {  # glibc's settings
    "MALLOC_PERTURB_": "255",  # fill what is handed out with the complement: zeros
    "MALLOC_MMAP_THRESHOLD_": str(256 << 20),  # keep large blocks instead of faulting them in again and again
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}


class ShiftMapError(RuntimeError):
    """OpenCV's shift map did not come back with a picture."""


def shift_map(lab: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill the hole (H W bool) of an 8-bit Lab image (H W 3) with shifted pieces of it; pixels left over are zero."""
    question = io.BytesIO()
    np.savez(question, lab=lab, valid=np.where(hole, 0, 255).astype(np.uint8))
    done = subprocess.run(
        [sys.executable, "-I", __file__],
        input=question.getvalue(),
        capture_output=True,
        env=os.environ | CLEAN_MEMORY,
        check=False,
    )
    if done.returncode != 0:
        raise ShiftMapError(f"OpenCV's shift map ended with status {done.returncode}: {done.stderr.decode()[-300:]}")
    return np.load(io.BytesIO(done.stdout), allow_pickle=False)


def _answer() -> None:
    question = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    lab = np.ascontiguousarray(question["lab"])
    filled = np.zeros_like(lab)
    cv2.xphoto.inpaint(lab, question["valid"], filled, cv2.xphoto.INPAINT_SHIFTMAP)
    answer = io.BytesIO()
    np.save(answer, filled)
    sys.stdout.buffer.write(answer.getvalue())


if __name__ == "__main__":
    _answer()
