"""What the cameras of a scene folder are, read once more in the plainest way: numpy in float64, nothing checked.

For files that `load_scene` took: these functions stumble over broken ones, and over what it refuses.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from scipy.linalg import polar

LENS_KEYS = ("k1", "k2", "p1", "p2", "k3")
COLMAP_LENSES = {  # by name, those of a perspective camera: fx, fy, cx, cy, k1, k2, p1, p2 as places of its parameters
    "SIMPLE_PINHOLE": (0, 0, 1, 2), "PINHOLE": (0, 1, 2, 3), "SIMPLE_RADIAL": (0, 0, 1, 2, 3),
    "RADIAL": (0, 0, 1, 2, 3, 4), "OPENCV": (0, 1, 2, 3, 4, 5, 6, 7),
}  # fmt: skip
COLMAP_PARAMETERS = (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12)  # how many its models have, by their ids; ours come first


@dataclass(frozen=True)
class ReferenceCamera:
    """A photo's name as listed; camera axes are OpenCV's. lens: fx, fy, cx, cy, k1, k2, p1, p2, k3 for a size."""

    name: str
    world_from_camera: np.ndarray
    position: np.ndarray
    lens: np.ndarray
    size: tuple[float, float]

    def unproject(self, plane: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """World points of positions at z = 1 (P 2) and depths (P)."""
        local = np.column_stack([plane, np.ones(len(plane))]) * depth[:, None]
        return local @ self.world_from_camera.T + self.position

    def project(self, plane: np.ndarray, width: int, height: int) -> np.ndarray:
        """Pixels of positions at z = 1 (P 2), in an image of width x height."""
        fx, fy, cx, cy, k1, k2, p1, p2, k3 = self.lens
        x, y = plane.T
        r2 = x**2 + y**2
        radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        u = fx * (x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)) + cx
        v = fy * (y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y) + cy
        return np.column_stack([u * width / self.size[0], v * height / self.size[1]])


def reference_cameras(layout: str, root: Path, stems: set[str]) -> list[ReferenceCamera]:
    """The cameras of the photos whose names without extension are ``stems``."""
    read = {
        "transforms": _transforms, "transforms with a split": _transforms, "blender": _transforms,
        "colmap binary": _colmap_binary, "colmap text": _colmap_text, "llff": _llff, "polycam": _polycam,
        "record3d": _record3d, "realitycapture": _realitycapture, "metashape": _metashape,
    }  # fmt: skip
    return list(read[layout](root, stems))


def stem(name: str) -> str:
    """A photo's name without folder and extension."""
    return Path(name.replace("\\", "/")).stem.strip()


def _camera(name: str, T: np.ndarray, lens: list[float], size: tuple[float, float]) -> ReferenceCamera:
    rotation = polar(np.asarray(T, np.float64)[:3, :3])[0]  # drift of a rotation is taken out
    lens = [*lens, *[0.0] * (9 - len(lens))]
    return ReferenceCamera(name, rotation, np.asarray(T, np.float64)[:3, 3], np.array(lens, np.float64), size)


def _opencv(T: np.ndarray) -> np.ndarray:
    """A pose with OpenGL axes: y and z of the camera turned round."""
    turned = np.array(T, np.float64)[:3]
    turned[:, 1:3] *= -1
    return turned


def _files(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if os.path.isfile(path))


def _lines(file: Path) -> list[str]:
    """The lines of a text, none if there is no such file."""
    content = file.read_bytes() if os.path.isfile(file) else b""
    return content.decode("utf-16" if content[:2] == b"\xff\xfe" else "utf-8-sig", errors="replace").splitlines()


def _photo_size(root: Path) -> tuple[int, int]:
    """That of the first photo that is one: all have the same."""
    for file in sorted(root.rglob("*")):
        if file.is_file() and "masks" not in file.parts:
            with contextlib.suppress(OSError, Image.DecompressionBombError), Image.open(file) as image:
                return image.size
    raise FileNotFoundError(root)


def _transforms(root: Path, stems: set[str]) -> Iterator[ReferenceCamera]:
    for file in _files(root.glob("transforms*.json")):
        content = json.loads(file.read_bytes())
        for frame in content["frames"]:
            entry = content | frame
            if stem(entry["file_path"]) not in stems:
                continue
            sized = {"w", "h"} <= entry.keys()
            size = (float(entry["w"]), float(entry["h"])) if sized else _photo_size(root)
            focal = [float(entry[key]) for key in ("fl_x", "fl_y") if key in entry]
            for key, side in (("camera_angle_x", size[0]), ("camera_angle_y", size[1])):
                if "fl_x" not in entry and key in entry:
                    focal.append(side / 2 / np.tan(entry[key] / 2))
            center = [float(entry.get("cx", size[0] / 2)), float(entry.get("cy", size[1] / 2))]
            distortion = [float(entry.get(key, 0)) for key in LENS_KEYS]
            matrix = np.array(entry["transform_matrix"], np.float64)
            yield _camera(entry["file_path"], _opencv(matrix), [focal[0], focal[-1], *center, *distortion], size)


def _from_colmap(name: str, pose: list[float], model: str, size: tuple[float, float], params: list[float]):
    w, x, y, z = np.array(pose[:4]) / np.linalg.norm(pose[:4])
    camera_from_world = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    position = -camera_from_world.T @ np.array(pose[4:])
    lens = [params[index] for index in COLMAP_LENSES[model]]
    return _camera(name, np.column_stack([camera_from_world.T, position]), lens, size)


def _colmap_binary(root: Path, stems: set[str]) -> Iterator[ReferenceCamera]:
    """Of a model where COLMAP writes it: the reader looks for others, too."""
    if not os.path.isfile(root / "sparse/0/cameras.bin"):
        return
    content, at = (root / "sparse/0/cameras.bin").read_bytes(), 8
    cameras = {}
    for _ in range(struct.unpack_from("<Q", content)[0]):
        id, model, width, height = struct.unpack_from("<IiQQ", content, at)
        count, name = COLMAP_PARAMETERS[model], dict(enumerate(COLMAP_LENSES)).get(model, "")
        cameras[id] = (name, (width, height), list(struct.unpack_from(f"<{count}d", content, at + 24)))
        at += 24 + 8 * count
    content, at = (root / "sparse/0/images.bin").read_bytes(), 8
    for _ in range(struct.unpack_from("<Q", content)[0]):
        end = content.index(b"\0", at + 64)
        pose, (id,) = struct.unpack_from("<7d", content, at + 4), struct.unpack_from("<I", content, at + 60)
        name = content[at + 64 : end].decode(errors="replace")
        if cameras[id][0] and stem(name) in stems:
            yield _from_colmap(name, list(pose), *cameras[id])
        at = end + 9 + 24 * struct.unpack_from("<Q", content, end + 1)[0]


def _colmap_text(root: Path, stems: set[str]) -> Iterator[ReferenceCamera]:
    cameras = {}
    for line in _lines(root / "sparse/0/cameras.txt"):
        if line.strip() and not line.startswith("#"):
            id, model, width, height, *params = line.split()
            cameras[int(id)] = (model, (float(width), float(height)), [float(word) for word in params])
    for line in _lines(root / "sparse/0/images.txt"):
        words = line.split(maxsplit=9)
        if len(words) < 10 or line.startswith("#") or stem(words[9]) not in stems:
            continue
        if cameras[int(words[8])][0] in COLMAP_LENSES:
            yield _from_colmap(words[9].strip(), [float(word) for word in words[1:8]], *cameras[int(words[8])])


def _llff(root: Path, stems: set[str]) -> Iterator[ReferenceCamera]:
    folder = next(folder for folder in (root / "images", root / "images_2") if folder.is_dir())
    photos = sorted(file.name for file in folder.iterdir())
    for name, row in zip(photos, np.load(root / "poses_bounds.npy").astype(np.float64), strict=True):
        down, right, back, position, (height, width, focal) = row[:15].reshape(3, 5).T
        T = np.column_stack([right, down, -back, position])
        yield _camera(name, T, [focal, focal, width / 2, height / 2], (width, height))


def _polycam(root: Path, stems: set[str]) -> Iterator[ReferenceCamera]:
    for file in _files((root / "keyframes/corrected_cameras").glob("*.json")):
        if file.stem not in stems:
            continue
        content = json.loads(file.read_bytes())
        T = [[content[f"t_{i}{j}"] for j in range(4)] for i in range(3)]
        lens = [float(content[key]) for key in ("fx", "fy", "cx", "cy")]
        yield _camera(file.stem, _opencv(T), lens, (float(content["width"]), float(content["height"])))


def _record3d(root: Path, stems: set[str]) -> Iterator[ReferenceCamera]:
    content = json.loads((root / "EXR_RGBD/metadata.json").read_bytes())
    for index in sorted(int(name) for name in stems):
        x, y, z, w, *position = content["poses"][index]
        camera_from_world = _from_colmap("", [w, x, y, z, 0, 0, 0], "PINHOLE", (1, 1), [1, 1, 0, 0]).world_from_camera.T
        lens = [float(content["K"][place]) for place in (0, 4, 6, 7)]
        T = _opencv(np.column_stack([camera_from_world, position]))
        yield _camera(str(index), T, lens, (float(content["w"]), float(content["h"])))


def _realitycapture(root: Path, stems: set[str]) -> Iterator[ReferenceCamera]:
    """Rotations from the matrix that its developers gave (see `exports.heading_pitch_roll`)."""
    lines = csv.reader(_files(root.glob("*.[cC][sS][vV]"))[0].read_text(encoding="utf-8-sig").splitlines())
    header, *rows = (cells for cells in lines if any(cell.strip() for cell in cells))
    for cells in rows:
        if stem(cells[0]) not in stems:
            continue
        row = dict(zip([cell.strip().lstrip("#").lower() for cell in header], cells, strict=False))
        value = {key: float(text) for key, text in row.items() if key != "name"}
        y, p, r = np.radians([value["heading"], value["pitch"], value["roll"]])
        (cy, sy), (cp, sp), (cr, sr) = ((np.cos(angle), np.sin(angle)) for angle in (y, p, r))
        camera_from_world = np.array([
            [cr * cy + sr * sp * sy, -cr * sy + cy * sr * sp, -cp * sr],
            [-cp * sy, -cp * cy, -sp],
            [cr * sp * sy - cy * sr, cr * cy * sp + sr * sy, -cr * cp],
        ])  # fmt: skip
        width, height = _photo_size(root)
        longer, f = max(width, height), value["f"] * max(width, height) / 36
        center = [width / 2 + longer * value.get("px", 0), height / 2 + longer * value.get("py", 0)]
        distortion = [value.get(key, 0.0) for key in ("k1", "k2", "t2", "t1", "k3")]
        position = [value["x"], value["y"], value["alt"]]
        T = np.column_stack([camera_from_world.T, position])
        yield _camera(row["name"], T, [f, f, *center, *distortion], (width, height))


def _metashape(root: Path, stems: set[str]) -> Iterator[ReferenceCamera]:
    chunk = ElementTree.parse(_files(root.glob("*.[xX][mM][lL]"))[0]).getroot().find("chunk")

    def values(element: ElementTree.Element | None, path: str, default: str) -> np.ndarray:
        return np.array([float(word) for word in element.findtext(path, default).split()])

    for camera in chunk.iterfind("cameras//camera"):
        if camera.find("transform") is None or stem(camera.get("label")) not in stems:
            continue
        world = next((c for c in chunk.iter("component") if c.get("id") == camera.get("component_id")), None)
        world = world.find("transform") if world is not None else None
        world = world if world is not None else chunk.find("transform")
        world = world if world is not None else ElementTree.Element("transform")
        rotation = values(world, "rotation", "1 0 0 0 1 0 0 0 1").reshape(3, 3)
        scale, translation = values(world, "scale", "1"), values(world, "translation", "0 0 0")
        local = values(camera, "transform", "").reshape(4, 4)
        T = np.column_stack([rotation @ local[:3, :3], scale * (rotation @ local[:3, 3]) + translation])
        sensor = next(s for s in chunk.iter("sensor") if s.get("id") == camera.get("sensor_id"))
        adjusted = [lens for lens in sensor.iter("calibration") if lens.get("class") == "adjusted"]
        lens = [*adjusted, *sensor.iter("calibration")][0]
        width, height = (float(lens.find("resolution").get(side)) for side in ("width", "height"))
        f, b1, cx, cy, *distortion = (
            values(lens, tag, "0")[0] for tag in ("f", "b1", "cx", "cy", "k1", "k2", "p2", "p1", "k3")
        )
        intrinsics = [f + b1, f, width / 2 + cx, height / 2 + cy, *distortion]
        yield _camera(camera.get("label"), T, intrinsics, (width, height))
