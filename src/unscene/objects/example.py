"""The package's own example: a photo-like rendering of a procedural object, with its depth."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "example"
PHOTO = FOLDER / "mug.png"
DEPTH = FOLDER / "mug.depth.png"
DEPTH_UNIT = 1 / 8192  # object radii
FIELD_OF_VIEW = 45.0  # degrees
ELEVATION = 20.0  # degrees
