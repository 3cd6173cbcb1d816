"""Numbers a user gave that mean nothing, refused in words."""

from __future__ import annotations

from collections.abc import Mapping


def check_ranges(ranges: Mapping[str, tuple[float | None, float, float]], error: type[Exception]) -> None:
    """Raise ``error`` at the first option whose value is not between its lowest and highest; None may pass."""
    for name, (value, low, high) in ranges.items():
        if value is not None and not low <= value <= high:
            raise error(f"--{name}: expected {low:g} to {high:g}, got {value:g}.")
