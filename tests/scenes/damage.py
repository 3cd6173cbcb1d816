"""Ways in which the files of a capture are broken or odd, as hypothesis draws them."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from hypothesis import strategies as st

from tests.scenes.odd_images import ODD_IMAGES

NUMBER = re.compile(rb"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
TEXTS, IMAGES = {".json", ".csv", ".xml", ".txt", ""}, {".png"}
ODD_NUMBERS = (
    "0", "-1", "0.5", "12.5", "-0.2", "1e7", "1e39", "1e300", "-1e300", "1e-300", "1e400", "NaN", "nan", "Infinity",
    "-inf", "9" * 400, "9" * 5000, '"40"', "null", "true", "[]", "[[1]]", "{}", "", "0x10", "1_0", "1,5", "١",
)  # fmt: skip
ODD_VALUES = (
    None, True, "", "x", "images/000.png", "..", 0, -1, 1e300, 10**400, float("nan"), float("inf"), [], [1], [[1, 2]],
    {}, {"a": 1}, [[float("nan")] * 4] * 4, [[0.0] * 4] * 4, [[1e300] * 4] * 4, "9" * 300, ["000.png"] * 3, [None],
)  # fmt: skip
ODD_NAMES = (
    "", ".", "..", "/", "../../etc/passwd", "/etc/passwd", "images/../../x.png", "a\0b.png", "x" * 300 + ".png",
    "y" * 251, "d/" * 3000 + "e.png", "C:\\x\\000.png", "\\\\host\\x", "000", "000.PNG", "000.jpg", "é.png",
    "e\u0301.png",
    "\ud800.png", "*.png", "[0].png", "000.png ", " 000.png", "0 0 0.png", "a\nb.png", "~/x.png", "-", "CON", "001.png",
    "images", "%2e%2e",
)  # fmt: skip
ODD_WORDS = (
    *(struct.pack("<d", number) for number in (float("nan"), float("inf"), 1e300, -1.0, 0.0)),
    *(struct.pack("<Q", count) for count in (0, 1, 2**32, 2**40, 2**63, 2**64 - 1)),
    *(struct.pack("<i", model) for model in (-1, 5, 9)),
)


@dataclass(frozen=True)
class Damage:
    """One thing that is done to the files of a folder: ``places`` say to which file and where in it."""

    name: str
    places: tuple[int, ...]

    def __call__(self, root: Path) -> None:
        with contextlib.suppress(OSError):  # what an earlier one left no place for
            DAMAGES[self.name](root, *self.places)


def damages() -> st.SearchStrategy[Damage]:
    place = st.integers(0, 2**16 - 1)
    return st.builds(Damage, st.sampled_from(sorted(DAMAGES)), st.tuples(place, place, place))


def _pick(root: Path, place: int, suffixes: set[str] | None = None) -> Path | None:
    files = [file for file in sorted(root.rglob("*")) if file.is_file() and not file.is_symlink()]
    files = [file for file in files if suffixes is None or file.suffix in suffixes]
    return files[place % len(files)] if files else None


def _number(root: Path, which: int, where: int, what: int) -> None:
    """Another number, or something that is none, in a text."""
    file = _pick(root, which, TEXTS)
    if file and (found := list(NUMBER.finditer(file.read_bytes()))):
        match, content = found[where % len(found)], file.read_bytes()
        odd = ODD_NUMBERS[what % len(ODD_NUMBERS)].encode()
        file.write_bytes(content[: match.start()] + odd + content[match.end() :])


def _value(root: Path, which: int, where: int, what: int) -> None:
    """Another value in JSON, or a key or an item that is missing."""
    file = _pick(root, which, {".json"})
    if not file:
        return
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return
    nodes, queue = [], [content]
    while queue:
        node = queue.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        nodes += [(node, key) for key in keys]
        queue += [node[key] for key in keys]
    if nodes:
        node, key = nodes[where % len(nodes)]
        if what % 4 == 0:
            del node[key]
        else:
            node[key] = ODD_VALUES[what // 4 % len(ODD_VALUES)]
    file.write_text(json.dumps(content))


def _nesting(root: Path, which: int, where: int, what: int) -> None:
    file = _pick(root, which, TEXTS)
    if file:
        opening, depth = ((b"[", b"]"), (b'{"a":', b"}"), (b"<a>", b"</a>"))[what % 3], (2000, 100_000)[where % 2]
        nested = opening[0] * depth + b"1" * (what % 3 == 1) + opening[1] * depth
        content = file.read_bytes()
        match = list(NUMBER.finditer(content))[where : where + 1]
        start, end = match[0].span() if match else (len(content), len(content))
        file.write_bytes(nested if what % 5 == 0 else content[:start] + nested + content[end:])


def _element(root: Path, which: int, where: int, what: int) -> None:
    """A tag of XML that is missing, twice there or another one; a declaration of entities."""
    file = _pick(root, which, {".xml"})
    if not file:
        return
    content = file.read_text(errors="replace")
    tags = list(re.finditer(r"<(\w+)[^<>]*>[^<>]*</\1>|<[^<>]*>|\w+=\"[^\"]*\"", content))
    if tags:
        start, end = tags[where % len(tags)].span()
        replacement = ("", content[start:end] * 2, "<x/>", '<!DOCTYPE a [<!ENTITY b "c">]>', "&b;")[what % 5]
        file.write_text(content[:start] + replacement + content[end:])


def _bytes(root: Path, which: int, where: int, what: int) -> None:
    """Bytes that are flipped, missing, doubled, zero or new, in any file."""
    file = _pick(root, which)
    if not file or not file.stat().st_size:
        return
    content = file.read_bytes()
    at = where * len(content) >> 16
    length = 1 << (what >> 8) % 12
    middle = (
        bytes([content[at] ^ 1 << what % 8]), content[at : at + length] * 2, b"\0" * length, b"", b"\xff\xfe", b"\n",
        b"\xef\xbb\xbf" + content[at : at + 1],
    )[what % 7]  # fmt: skip
    tail = b"" if what % 11 == 0 else content[at + (1 if what % 7 in (0, 6) else length) :]
    file.write_bytes(content[:at] + middle + tail)


def _word(root: Path, which: int, where: int, what: int) -> None:
    """Eight bytes of a binary file that mean an odd number, an odd count or an odd model."""
    file = _pick(root, which, {".bin", ".npy"})
    if file:
        content, word = bytearray(file.read_bytes()), ODD_WORDS[what % len(ODD_WORDS)]
        at = (0, 8, 12, 16, 24)[where % 5] if what % 3 else where * len(content) >> 16
        content[at : at + len(word)] = word
        file.write_bytes(bytes(content))


def _name(root: Path, which: int, where: int, what: int) -> None:
    """An odd name of a photo where cameras are listed."""
    file = _pick(root, which, TEXTS | {".bin"})
    if not file:
        return
    odd = ODD_NAMES[what % len(ODD_NAMES)]
    raw = odd.encode("utf-8", "surrogatepass")
    written = {".json": json.dumps(odd)[1:-1].encode(), ".xml": escape(odd).encode("utf-8", "replace")}
    names = list(re.finditer(rb"(?:[\w/]*/)?\d+\.png", file.read_bytes()))
    if names:
        content, match = file.read_bytes(), names[where % len(names)]
        file.write_bytes(content[: match.start()] + written.get(file.suffix, raw) + content[match.end() :])


def _encoding(root: Path, which: int, where: int, what: int) -> None:
    file = _pick(root, which, TEXTS)
    if file:
        text = file.read_bytes().decode(errors="replace")
        encoded = (
            text.encode("utf-8-sig"),
            text.encode("utf-16"),
            text.replace("\n", "\r\n").encode(),
            text.encode("cp037", "replace"),
        )
        file.write_bytes(encoded[what % 4])


def _file(root: Path, which: int, where: int, what: int) -> None:
    """A file that is gone, empty, a folder, a link, or there under another name as well."""
    file = _pick(root, which)
    if not file:
        return
    if what % 8 == 6:
        shutil.copy(file, file.with_name(f"other{file.suffix}"))
    elif what % 8 == 7:
        file.rename(file.with_suffix(file.suffix.upper()))
    else:
        file.unlink()
        if what % 8 == 1:
            file.touch()
        elif what % 8 == 2:
            file.mkdir()
        elif what % 8 == 3:
            file.symlink_to(file.name)
        elif what % 8 == 4:
            file.symlink_to("/etc/passwd")
        elif what % 8 == 5:
            file.symlink_to("..")


def _folder(root: Path, which: int, where: int, what: int) -> None:
    folders = [folder for folder in sorted(root.rglob("*")) if folder.is_dir() and not folder.is_symlink()]
    if folders:
        folder = folders[which % len(folders)]
        moved = folder.rename(
            folder.with_name(("other", "Images", "masks", "images_2")[what % 4] + str(where % 2) * (what % 3))
        )
        if what % 5 == 0:
            folder.symlink_to(moved.name)
        elif what % 5 == 1:
            folder.write_text("no folder")


def _image(root: Path, which: int, where: int, what: int) -> None:
    """A photo or a mask of another kind, of another size, or that says to be huge."""
    file = _pick(root, which, IMAGES)
    if file:
        ODD_IMAGES[what % len(ODD_IMAGES)](file, where)


def _all_images(root: Path, which: int, where: int, what: int) -> None:
    for file in sorted(root.rglob("*.png")):
        if file.is_file() and not file.is_symlink():
            ODD_IMAGES[what % len(ODD_IMAGES)](file, where)


DAMAGES: dict[str, Callable[[Path, int, int, int], None]] = {
    "number": _number, "value": _value, "nesting": _nesting, "element": _element, "bytes": _bytes, "word": _word,
    "name": _name, "encoding": _encoding, "file": _file, "folder": _folder, "image": _image, "all images": _all_images,
}  # fmt: skip
