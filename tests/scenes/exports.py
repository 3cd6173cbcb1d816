"""Exports of other tools, written from a tiny scene by their documentation: the inverse of what the readers do."""

from __future__ import annotations

import numpy as np

from tests.scenes.tiny_scenes import DISTORTION, FOCAL, PRINCIPAL, SIZE, TinyScene

RC_HEADER = "#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"
RC_POSES_HEADER = "#name,x,y,alt,heading,pitch,roll,f"
RC_NEWER_HEADER = "#name,x,y,alt,yaw,pitch,roll,f_35mm,px_norm,py_norm,k1,k2,k3,k4,t1,t2"


def write_polycam(tiny: TinyScene, cameras: str = "corrected_cameras", photos: str = "corrected_images") -> None:
    """keyframes/: a JSON file per photo with fx ... height and the rows t_ij of an OpenGL pose."""
    tiny.photos(f"keyframes/{photos}")
    (tiny.root / "keyframes" / cameras).mkdir(parents=True, exist_ok=True)
    for view, name in enumerate(tiny.names):
        lens = {"fx": FOCAL[0], "fy": FOCAL[1], "cx": PRINCIPAL[0], "cy": PRINCIPAL[1]}
        rows = {f"t_{i}{j}": value for i, row in enumerate(tiny.matrix(view)[:3]) for j, value in enumerate(row)}
        content = {**lens, "width": SIZE[0], "height": SIZE[1], "blur_score": 120.5, **rows}
        tiny.json(content, f"keyframes/{cameras}/{name.removesuffix('.png')}.json")


def record3d_metadata(tiny: TinyScene) -> dict:
    """Poses as quaternion (x, y, z, w) and position of an OpenGL pose, K column by column."""
    from scipy.spatial.transform import Rotation

    matrices = [np.array(tiny.matrix(view)) for view in range(len(tiny.names))]
    poses = [[*Rotation.from_matrix(T[:3, :3]).as_quat().tolist(), *T[:3, 3].tolist()] for T in matrices]
    K = [FOCAL[0], 0, 0, 0, FOCAL[1], 0, *PRINCIPAL, 1]
    return {"w": SIZE[0], "h": SIZE[1], "dw": 8, "dh": 6, "fps": 60, "K": K, "poses": poses, "initPose": poses[0]}


def write_record3d(tiny: TinyScene, folder: str = "EXR_RGBD", photos: str = "rgb", file: str = "metadata.json") -> None:
    tiny.names = [f"{view}.png" for view in range(len(tiny.names))]
    tiny.photos(f"{folder}/{photos}")
    tiny.json(record3d_metadata(tiny), f"{folder}/{file}")


def heading_pitch_roll(world_to_camera: np.ndarray) -> np.ndarray:
    """Degrees of RealityCapture's R(yaw y, pitch p, roll r), which its developers gave as (s sine, c cosine)

    cr cy + sr sp sy,  -cr sy + cy sr sp,  -cp sr
    -cp sy,            -cp cy,             -sp
    cr sp sy - cy sr,  cr cy sp + sr sy,   -cr cp
    """
    R = world_to_camera
    return np.degrees([np.arctan2(-R[1, 0], -R[1, 1]), np.arcsin(-R[1, 2]), np.arctan2(-R[0, 2], -R[2, 2])])


def realitycapture_rows(tiny: TinyScene) -> list[str]:
    """The rows of RealityCapture's internal/external camera parameters, for the focal length FOCAL[0] both ways."""
    longer = max(SIZE)
    offset = [(center - size / 2) / longer for center, size in zip(PRINCIPAL, SIZE, strict=True)]
    k1, k2, p1, p2, k3 = (DISTORTION[key] for key in ("k1", "k2", "p1", "p2", "k3"))
    rows = []
    for pose, name in zip(tiny.poses, tiny.names, strict=True):
        angles = heading_pitch_roll(pose[:, :3].T)
        values = [*pose[:, 3], *angles, FOCAL[0] / longer * 36, *offset, k1, k2, k3, 0, p2, p1]
        rows.append(",".join([name, *(repr(float(value)) for value in values)]))
    return rows


def write_realitycapture(tiny: TinyScene, header: str = RC_HEADER, photos: str = "images", end: str = "\r\n") -> None:
    tiny.photos(photos)
    text = end.join([header, *realitycapture_rows(tiny), ""])
    (tiny.root / "cameras.csv").write_text(text, encoding="utf-8", newline="")


def words(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in np.ravel(values))


def metashape_transform(rotation: np.ndarray, translation: np.ndarray, scale: float) -> str:
    return (
        f'<transform><rotation locked="false">{words(rotation)}</rotation>'
        f"<translation>{words(translation)}</translation><scale>{scale!r}</scale></transform>"
    )


def metashape_sensor(id: int = 0, type: str = "frame", **changed: float) -> str:
    """A sensor with f = FOCAL[1] and fx = f + b1 = FOCAL[0], its adjusted calibration after the initial one."""
    k1, k2, p1, p2, k3 = (DISTORTION[key] for key in ("k1", "k2", "p1", "p2", "k3"))
    cx, cy = (center - size / 2 for center, size in zip(PRINCIPAL, SIZE, strict=True))
    terms = {"f": FOCAL[1], "cx": cx, "cy": cy, "b1": FOCAL[0] - FOCAL[1], "k1": k1, "k2": k2, "k3": k3}
    terms |= {"k4": 0.0, "p1": p2, "p2": p1, **changed}
    size = f'<resolution width="{SIZE[0]}" height="{SIZE[1]}"/>'
    return (
        f'<sensor id="{id}" label="unknown" type="{type}">{size}<property name="layer_index" value="0"/>'
        f'<calibration type="{type}" class="initial">{size}<f>999</f></calibration>'
        f'<calibration type="{type}" class="adjusted">{size}'
        + "".join(f"<{tag}>{value!r}</{tag}>" for tag, value in terms.items())
        + "</calibration></sensor>"
    )


def metashape_camera(id: int, label: str, local: np.ndarray | None, attributes: str = 'sensor_id="0"') -> str:
    """A camera with its pose in the chunk, 3 4, or none, which is how one that was not aligned is written."""
    transform = "" if local is None else f"<transform>{words(local)} 0 0 0 1</transform>"
    return f'<camera id="{id}" {attributes} label="{label}">{transform}<orientation>1</orientation></camera>'


def metashape_document(cameras: str, after: str = "", components: str = "", sensors: str | None = None) -> str:
    sensors = metashape_sensor() if sensors is None else sensors
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<document version="2.0.0"><chunk label="Chunk 1" enabled="true">'
        f'<sensors next_id="1">{sensors}</sensors><components next_id="1" active_id="0">{components}</components>'
        f'<cameras next_id="9" next_group_id="1">{cameras}</cameras>{after}</chunk></document>'
    )


def in_chunk(pose: np.ndarray, rotation: np.ndarray, translation: np.ndarray, scale: float) -> np.ndarray:
    """The pose 3 4 in a chunk whose transform to the world is scale * rotation @ x + translation."""
    return np.column_stack([rotation.T @ pose[:, :3], rotation.T @ (pose[:, 3] - translation) / scale])


def write_metashape(tiny: TinyScene, text: str | None = None, photos: str = "images") -> None:
    """cameras.xml in the chunk's own coordinates, or another text."""
    tiny.photos(photos)
    if text is None:
        cameras = [
            metashape_camera(i, name, pose) for i, (name, pose) in enumerate(zip(tiny.names, tiny.poses, strict=True))
        ]
        text = metashape_document("".join(cameras))
    (tiny.root / "cameras.xml").write_text(text, encoding="utf-8")
