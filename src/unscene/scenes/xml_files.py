"""XML as other tools write it, read without entities, which could read other files or grow without bound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from unscene.scenes.json_files import excerpt
from unscene.scenes.scene import SceneError


class _WithoutDoctype(ElementTree.TreeBuilder):
    """A builder that stops where entities would be declared."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise SceneError("expected XML without a DOCTYPE, got one")


def read_xml(file: Path, label: str) -> Element:
    """The root element of an XML file. Raises SceneError for broken XML and for a DOCTYPE."""
    try:
        return ElementTree.parse(file, ElementTree.XMLParser(target=_WithoutDoctype())).getroot()
    except SceneError as error:
        raise SceneError(f"{label}: {error}; export the file again, without one.") from error
    except (ElementTree.ParseError, LookupError, OSError, ValueError) as error:  # of the encoding, the last ones
        raise SceneError(f"{label}: expected valid XML, got an error: {error}; export the file again.") from error


def numbers(text: str | None, count: int, name: str, label: str) -> np.ndarray:
    """``count`` numbers with blanks between them. Raises SceneError, which calls them ``name``, for anything else."""
    try:
        values = np.array([float(word) for word in (text or "").split()])
    except ValueError:
        values = np.zeros(0)
    if len(values) != count:
        expected = f"{count} numbers" if count > 1 else "a number"
        raise SceneError(f"{label}: expected {expected} as {name}, got {excerpt(text)}; correct the file.")
    return values


def child_numbers(element: Element, tag: str, label: str, default: np.ndarray) -> np.ndarray:
    """As many numbers as ``default`` has in the child ``tag``; ``default`` if there is no such child."""
    child = element.find(tag)
    return default if child is None else numbers(child.text, len(default), tag, label)


def child_number(element: Element, tag: str, label: str, default: float) -> float:
    """The number in the child ``tag``; ``default`` if there is no such child."""
    return float(child_numbers(element, tag, label, np.array([default]))[0])


def attribute_number(attributes: Mapping[str, str], name: str, label: str) -> float:
    """The number in an attribute. Raises SceneError if there is none."""
    return float(numbers(attributes.get(name), 1, name, label)[0])
