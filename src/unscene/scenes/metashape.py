"""Agisoft Metashape's export of cameras as XML ("Agisoft XML").

Conventions, from Agisoft's manual (appendix "Camera models") and scripts: a camera's transform maps camera to chunk,
with OpenCV's axes; its component's transform, else the chunk's, maps on to the world, geocentric if the chunk is
georeferenced. cx and cy are offsets from the centre of the image, fx is f + b1, P1 and P2 are OpenCV's p2 and p1.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from unscene.scenes.capture import Capture, Frame, inside, listing, scene_path, start_of, usable_files
from unscene.scenes.listed_photos import find_listed_photos
from unscene.scenes.scene import SceneError
from unscene.scenes.xml_files import attribute_number, child_number, child_numbers, numbers, read_xml

TERMS_WE_LACK = ("k4", "p3", "p4", "b2")


def find_metashape(root: Path) -> list[Path]:
    """The XML files of a scene folder that begin like a Metashape document."""
    return [file for file in sorted(root.glob("*.[xX][mM][lL]")) if b"<document" in start_of(file).replace(b"\0", b"")]


def read_metashape(root: Path, file: Path) -> Capture:
    """Frames of the aligned cameras of the largest chunk, in the order of the file."""
    label = scene_path(root, inside(root, file, file.name))
    chunk, notes = _largest_chunk(read_xml(file, label), label)
    components = {component.get("id"): component for component in chunk.iterfind("components/component")}
    cameras, component_notes = _of_one_world(_aligned(chunk), components, label)
    paths = find_listed_photos(root, [camera.get("label", "") for camera in cameras], label)
    kept, file_notes = usable_files(root, paths, label)
    sensors = {sensor.get("id"): sensor for sensor in chunk.iterfind("sensors/sensor")}
    frames = []
    for i in kept:
        component, sensor = components.get(cameras[i].get("component_id")), sensors.get(cameras[i].get("sensor_id"))
        own = None if component is None else component.find("transform")
        world = own if own is not None else chunk.find("transform")
        frames.append(_to_frame(cameras[i], sensor, world, paths[i], scene_path(root, paths[i])))
    return Capture(tuple(frames), (*notes, *component_notes, *file_notes))


def _aligned(chunk: Element) -> list[Element]:
    cameras = chunk.iterfind("cameras//camera")
    return [c for c in cameras if c.find("transform") is not None and c.get("enabled") not in ("false", "0")]


def _largest_chunk(document: Element, label: str) -> tuple[Element, list[str]]:
    chunks = list(document.iterfind("chunk"))
    counts = [len(_aligned(chunk)) for chunk in chunks]
    if not any(counts):
        raise SceneError(f"{label}: expected aligned cameras, found none; align the photos in Metashape, export again.")
    largest = chunks[counts.index(max(counts))]
    notes = [f"{label}: read as Metashape's cameras, in the world of their chunk"]
    if len(chunks) > 1:
        notes.append(f"{label}: of chunks with {listing([str(n) for n in counts], 8)} cameras the largest is used")
    left_out = len(list(largest.iterfind("cameras//camera"))) - max(counts)
    if left_out:
        notes.append(f"{label}: {left_out} cameras are not aligned, or switched off, and are skipped")
    return largest, notes


def _of_one_world(
    cameras: list[Element], components: dict[str | None, Element], label: str
) -> tuple[list[Element], list[str]]:
    """Cameras that have a place in common: of all components if each has its own transform, else of the largest."""
    sizes = Counter(camera.get("component_id") for camera in cameras).most_common()
    if len(sizes) == 1:
        return cameras, []
    counts = listing([str(count) for _, count in sizes], 8)
    if all(name in components and components[name].find("transform") is not None for name, _ in sizes):
        return cameras, [f"{label}: components with {counts} cameras, each placed by its own transform"]
    kept = [camera for camera in cameras if camera.get("component_id") == sizes[0][0]]
    return kept, [f"{label}: of components with {counts} cameras, not aligned to each other, the largest is used"]


def _to_frame(camera: Element, sensor: Element | None, world: Element | None, path: Path, label: str) -> Frame:
    T = numbers(camera.findtext("transform"), 16, "transform", label).reshape(4, 4)
    if world is not None:
        scale = child_number(world, "scale", label, 1)
        if not scale > 0:
            raise SceneError(f"{label}: expected a chunk with a scale above 0, got {scale:g}; export it again.")
        T[:3] = child_numbers(world, "rotation", label, np.eye(3).ravel()).reshape(3, 3) @ T[:3]
        T[:3, 3] = scale * T[:3, 3] + child_numbers(world, "translation", label, np.zeros(3))
    focal, principal, (width, height), distortion = _lens(sensor, label)
    return Frame(label, path, T, focal, principal, width, height, distortion)


def _lens(sensor: Element | None, label: str) -> tuple:
    """Focal lengths, principal point and (width, height) in pixels, and OpenCV's distortion."""
    calibrations = [] if sensor is None else sensor.findall("calibration")
    lens = next((c for c in calibrations if c.get("class") == "adjusted"), calibrations[0] if calibrations else None)
    kinds = [element.get("type", "frame") for element in (sensor, lens) if element is not None]
    if lens is None or lens.find("f") is None or set(kinds) != {"frame"}:
        got = next((kind for kind in kinds if kind != "frame"), "one without f")
        raise SceneError(
            f"{label}: expected the calibration of a frame camera, got {got}; undistort the photos (Export, Convert "
            "images) or align them, and export again."
        )
    lacking = [f"{tag} = {value:g}" for tag in TERMS_WE_LACK if (value := child_number(lens, tag, label, 0))]
    if lacking:
        raise SceneError(
            f"{label}: expected a lens with f, cx, cy, b1, k1, k2, k3, p1 and p2, got {', '.join(lacking)}; fix these "
            "at 0 (Tools, Optimize cameras) and export again."
        )
    size = lens.find("resolution")
    attributes = {} if size is None else size.attrib
    width, height = (attribute_number(attributes, name, label) for name in ("width", "height"))
    f, b1, cx, cy, k1, k2, k3, p1, p2 = (
        child_number(lens, tag, label, 0) for tag in ("f", "b1", "cx", "cy", "k1", "k2", "k3", "p1", "p2")
    )
    return (f + b1, f), (width / 2 + cx, height / 2 + cy), (width, height), (k1, k2, p2, p1, k3)
