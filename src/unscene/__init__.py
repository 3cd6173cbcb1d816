"""Unscene: take objects out of 3D scenes, and see the object of one photo from all around."""

import ctypes
import importlib
import sys
from typing import Any

if sys.platform == "linux":
    # Keep freed memory: returning and faulting in the same tens of megabytes every step costs a tenth of the time.
    _M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
    _mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)  # musl has none
    _mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    _mallopt(_M_TRIM_THRESHOLD, 512 << 20)

# Heavy libraries load where they are used: names resolve at first access.
_EXPORTS = {
    "load_scene": "unscene.scenes.load",
    "still_life": "unscene.scenes.still_life",
    "room": "unscene.scenes.room",
    "capture_scene": "unscene.jobs.capture",
    "fit": "unscene.jobs.fit",
    "remove": "unscene.jobs.remove",
    "orbit": "unscene.jobs.orbit",
    "open_run": "unscene.results.run",
    "evaluate": "unscene.results.truth",
    "scene_truth": "unscene.results.truth",
    "CaptureOptions": "unscene.jobs.capture",
    "FitConfig": "unscene.training.fit",
    "FitOptions": "unscene.jobs.fit",
    "OrbitOptions": "unscene.jobs.orbit_options",
    "RemoveOptions": "unscene.jobs.remove_options",
    "removal_preset": "unscene.jobs.presets",
}
__all__ = list(_EXPORTS)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'unscene' has no attribute '{name}'; it has {', '.join(sorted(_EXPORTS))}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)
