"""JSON as other tools write it: read, with words for the user about what is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unscene.scenes.scene import SceneError


def read_json(file: Path) -> Any:
    """The content of a JSON file, with or without a byte-order mark. Raises SceneError if it is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise SceneError(f"{file.name}: expected valid JSON, got an error at {where}: {error.msg}; fix it.") from error
    except UnicodeDecodeError as error:
        raise SceneError(f"{file.name}: expected JSON in UTF-8, got other bytes; export the file again.") from error
    except (RecursionError, ValueError) as error:  # thousands of brackets; an integer of thousands of digits
        raise SceneError(
            f"{file.name}: expected JSON with cameras, got brackets nested too deep or an integer of thousands of "
            "digits; export the file again."
        ) from error
    except OSError as error:
        raise SceneError(f"{file.name}: expected a readable file, got: {error.strerror}; check it.") from error


def number(entry: Mapping[str, Any], key: str, label: str, default: float | None = None) -> float:
    """The number under ``key``, else ``default``; it may be infinite or NaN. Raises SceneError for anything else."""
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SceneError(f"{label}: expected a number as {key}, got {excerpt(value)}; correct it.")
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf


def excerpt(value: object) -> str:
    """A value of a file as messages quote it: not more than a line of it."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
