"""PLY files as tables: a header, and one numpy structured array an element, mapped from the file where it is binary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unscene.splat_files.splat_error import SplatError

TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
NAMES = {kind: name for name, kind in reversed(TYPES.items())}  # the names that every program knows
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
MOST_HEADER = 1 << 20


@dataclass(frozen=True)
class Element:
    """What a header says of one element. properties: name and numpy type of each; None: has lists, of no fixed size."""

    name: str
    count: int
    properties: tuple[tuple[str, str], ...] | None

    def dtype(self, order: str) -> np.dtype:
        assert self.properties is not None
        return np.dtype([(name, order + kind) for name, kind in self.properties])


@dataclass(frozen=True)
class Header:
    """order: of bytes, "<" or ">", or "" for text; begin: where in the file the elements begin."""

    order: str
    elements: tuple[Element, ...]
    comments: tuple[str, ...]
    begin: int

    def element(self, name: str) -> Element | None:
        return next((element for element in self.elements if element.name == name), None)


def read_header(path: Path) -> Header:
    """The header of a PLY file. Raises SplatError for what is none."""
    with path.open("rb") as file:
        start = file.read(MOST_HEADER)
    lines, begin = [], 0
    while not lines or lines[-1] != "end_header":
        end = start.find(b"\n", begin)
        if end < 0 or (not lines and start[begin:end].strip() != b"ply"):
            raise SplatError(f"{path}: expected a PLY file, but it does not begin like one; export the splat again.")
        lines.append(start[begin:end].decode("utf-8", "replace").strip())
        begin = end + 1
    order, elements, comments = None, [], []
    for line in lines:
        match line.split():
            case ["format", name, *_] if name in ORDERS:
                order = ORDERS[name]
            case ["comment", *_]:
                comments.append(line.removeprefix("comment").strip())
            case ["element", name, count] if count.isdecimal():
                elements.append((name, int(count), []))
            case ["property", "list", *_] if elements:
                elements[-1][2].append(None)
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1][2].append((name, TYPES[kind]))
            case ["ply" | "end_header"] | ["obj_info", *_] | []:
                pass
            case _:
                raise SplatError(f"{path}: expected a PLY header, but cannot read its line '{line}'; export it again.")
    if order is None:
        raise SplatError(f"{path}: expected a PLY header with a format; export the splat again.")
    return Header(order, tuple(_element(path, *element) for element in elements), tuple(comments), begin)


def _element(path: Path, name: str, count: int, properties: list[tuple[str, str] | None]) -> Element:
    named = [each for each in properties if each is not None]
    if len({each[0] for each in named}) < len(named):
        raise SplatError(f"{path}: expected every property of '{name}' once; export the splat again.")
    return Element(name, count, tuple(named) if len(named) == len(properties) else None)


def read_elements(path: Path, header: Header, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """Elements by name, as structured arrays, read-only and mapped from the file where it is binary.

    Raises SplatError for a file that ends early and for lists where numbers were expected.
    """
    if header.order == "":
        return _read_text(path, header, wanted)
    found, place, size = {}, header.begin, path.stat().st_size
    for element in header.elements:
        if set(wanted) <= found.keys():
            break
        if element.properties is None:
            raise SplatError(f"{path}: expected numbers, but '{element.name}' holds lists: a mesh is not a splat.")
        dtype = element.dtype(header.order)
        if place + dtype.itemsize * element.count > size:
            whole = max(0, size - place) // max(1, dtype.itemsize)
            raise SplatError(
                f"{path}: expected {element.count:,} of '{element.name}', but the file ends after {whole:,}; "
                "copy or export it again."
            )
        if element.name in wanted and element.count:
            found[element.name] = np.memmap(path, dtype, "r", place, (element.count,))
        elif element.name in wanted:
            found[element.name] = np.empty(0, dtype)
        place += dtype.itemsize * element.count
    return found


def _read_text(path: Path, header: Header, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        file.seek(header.begin)
        words = file.read().split()
    found, place = {}, 0
    for element in header.elements:
        if set(wanted) <= found.keys():
            break
        if element.properties is None:
            raise SplatError(f"{path}: expected numbers, but '{element.name}' holds lists: a mesh is not a splat.")
        amount = element.count * len(element.properties)
        try:
            numbers = np.array(words[place : place + amount], np.float64).reshape(element.count, -1)
        except ValueError as error:
            raise SplatError(
                f"{path}: expected {element.count:,} lines of numbers of '{element.name}', but they end early or are "
                "none; copy or export it again."
            ) from error
        table = np.empty(element.count, element.dtype("<"))
        for column, (name, _) in enumerate(element.properties):
            table[name] = numbers[:, column]
        found[element.name] = table
        place += amount
    return found


def header_bytes(elements: Sequence[tuple[str, np.dtype, int]], comments: Sequence[str]) -> bytes:
    """The header of a little-endian PLY of elements by name, with the type of a row and how many there are."""
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {comment}" for comment in comments)]
    for name, row, count in elements:
        lines.append(f"element {name} {count}")
        lines += [f"property {NAMES[row[each].str[1:]]} {each}" for each in row.names or ()]
    return "\n".join([*lines, "end_header", ""]).encode()
