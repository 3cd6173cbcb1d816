"""Names of files that Windows, macOS and Linux all take, also where they derive from what a photo is called."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

_REFUSED = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])( *\..*)?", re.IGNORECASE)


def portable(path: str) -> str:
    """A relative path with / between its folders, with what Windows refuses in names replaced by underscores."""
    return "/".join(_portable_part(part) for part in path.split("/"))


def distinct(paths: Sequence[str]) -> list[str]:
    """Portable paths that stay apart where upper and lower case, or two spellings of an accent, are the same.

    Numbers are appended for that. What is fine as it is keeps its name.
    """
    wanted = [portable(path) for path in paths]
    order = sorted(range(len(paths)), key=lambda i: wanted[i] != paths[i])  # what is fine as it is first
    chosen, taken = dict[int, str](), set[str]()
    for i in order:
        candidates = (wanted[i] if number == 1 else f"{wanted[i]}-{number}" for number in range(1, len(paths) + 1))
        chosen[i] = next(name for name in candidates if folded(name) not in taken)
        taken.add(folded(chosen[i]))
    return [chosen[i] for i in range(len(paths))]


def view_files(names: Iterable[str]) -> dict[str, str]:
    """What files about each of a scene's views are called: the name of its photo without the extension, folders joined
    by dashes, and distinct."""
    names = list(dict.fromkeys(names))
    return dict(zip(names, distinct([view_stem(name) for name in names]), strict=True))


def view_stem(name: str) -> str:
    """A photo's name without the extension, folders joined by dashes, whether a system takes it or not."""
    return PurePosixPath(name).with_suffix("").as_posix().replace("/", "-")


def folded(path: str) -> str:
    """``path`` with one case and one form of accents, equal for what some systems take to be equal."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _portable_part(part: str) -> str:
    if part in ("", ".", ".."):
        return part
    kept = part.rstrip(". ")
    part = _REFUSED.sub("_", kept + "_" * (len(part) - len(kept)))
    return f"_{part}" if _RESERVED.fullmatch(part) else part
