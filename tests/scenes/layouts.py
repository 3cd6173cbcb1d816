"""A small valid capture in every layout that `load_scene` reads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from tests.scenes import exports
from tests.scenes.tiny_scenes import FOCAL, PRINCIPAL, TinyScene

Layout = Callable[[TinyScene], object]


def place_cameras(tiny: TinyScene, rng: np.random.Generator) -> None:
    """Any rotations, positions within a few units of the origin."""
    views = len(tiny.names)
    rotations = Rotation.random(views, random_state=rng).as_matrix()
    tiny.poses = np.concatenate([rotations, rng.normal(0, 2, (views, 3, 1))], 2)


def _blender(tiny: TinyScene) -> None:
    content = tiny.transforms()
    for split, frames in (("train", content["frames"][1:]), ("test", content["frames"][:1])):
        tiny.json(content | {"frames": frames}, f"transforms_{split}.json")
    tiny.photos()


def _split_transforms(tiny: TinyScene) -> None:
    """Intrinsics and masks per frame, a field of view in place of focal lengths, file lists for the split."""
    content = tiny.transforms()
    files = [frame["file_path"] for frame in content["frames"]]
    shared = {key: content.pop(key) for key in ("k1", "k2", "p1", "p2", "k3", "cx", "cy")}
    del content["fl_x"], content["fl_y"]
    content["frames"] = [frame | shared | {"camera_angle_x": 0.8} for frame in content["frames"]]
    for frame, file in zip(content["frames"], files, strict=True):
        frame["mask_path"] = file.replace("images/", "keep/")
    content |= {"train_filenames": files[1:], "test_filenames": files[:1]}
    tiny.masks("keep")
    tiny.photos()
    tiny.json(content)


def _colmap(tiny: TinyScene, text: bool) -> None:
    """Without the files of rigs that COLMAP 3.12 began to write, which give the poses once more."""
    tiny.photos()
    tiny.colmap("OPENCV", [*FOCAL, *PRINCIPAL, 0.05, -0.01, 0.002, -0.001], text=text)
    for name in ("rigs", "frames"):
        (tiny.root / f"sparse/0/{name}.{'txt' if text else 'bin'}").unlink()


def _llff(tiny: TinyScene) -> None:
    tiny.photos()
    tiny.llff()


def _metashape(tiny: TinyScene) -> None:
    """Two sensors; a chunk with a transform, a component with its own."""
    similarity = (Rotation.from_euler("xyz", [0.3, -2, 1]).as_matrix(), np.array([1.0, -2.0, 0.5]), 1.5)
    cameras = [
        exports.metashape_camera(
            view, name, exports.in_chunk(pose, *similarity), f'sensor_id="{view % 2}" component_id="0"'
        )
        for view, (name, pose) in enumerate(zip(tiny.names, tiny.poses, strict=True))
    ]
    transform = exports.metashape_transform(*similarity)
    text = exports.metashape_document(
        "".join(cameras),
        exports.metashape_transform(np.eye(3), np.zeros(3), 1.0),
        f'<component id="0" label="a">{transform}</component>',
        exports.metashape_sensor() + exports.metashape_sensor(1, f=50.0),
    )
    exports.write_metashape(tiny, text)


LAYOUTS: dict[str, Layout] = {
    "transforms": lambda tiny: tiny.nerfstudio(),
    "transforms with a split": _split_transforms,
    "blender": _blender,
    "colmap binary": lambda tiny: _colmap(tiny, text=False),
    "colmap text": lambda tiny: _colmap(tiny, text=True),
    "llff": _llff,
    "polycam": exports.write_polycam,
    "record3d": exports.write_record3d,
    "realitycapture": exports.write_realitycapture,
    "metashape": _metashape,
}
