"""Render a bundled data set: posed views with and without the object, object masks and true depth.

    python scripts/render_scene.py still-life --samples 36 --output src/unscene/scenes/still_life
    python scripts/render_scene.py room --samples 24 --output src/unscene/scenes/room

Needs `mitsuba`, `numpy`, `scipy` and `opencv`. Views that are already there are kept, so an interrupted run goes on
where it stopped. Protocol as in SPIn-NeRF: train views show the object, test views do not.
"""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import mitsuba as mi
import numpy as np
import room_scene
import still_life_scene
from scene_parts import Part, load, load_glowing, skin

SCENES = {"still-life": still_life_scene, "room": room_scene}
WIDTH, HEIGHT = 320, 240
TEST_EVERY = 3
DEPTH_UNIT = 1e-4  # metres per step of the depth images


class Camera(NamedTuple):
    """pose: 4 4, camera to world, metres (OpenGL axes: x right, y up, z back); field_of_view: degrees, horizontal."""

    pose: np.ndarray
    field_of_view: float

    @property
    def focal(self) -> float:
        """Pixels."""
        return WIDTH / 2 / np.tan(np.radians(self.field_of_view / 2))


def sensor(camera: Camera, samples: int) -> mi.Sensor:
    """A Mitsuba camera, whose axes are x left, y up, z forward."""
    film = {"type": "hdrfilm", "width": WIDTH, "height": HEIGHT, "pixel_format": "rgb", "rfilter": {"type": "box"}}
    return mi.load_dict({
        "type": "perspective", "fov": camera.field_of_view, "fov_axis": "x", "near_clip": 0.01,
        "to_world": mi.ScalarTransform4f(camera.pose @ np.diag([-1.0, 1, -1, 1])),
        "film": film, "sampler": {"type": "multijitter", "sample_count": samples},
    })  # fmt: skip


class Stage:
    """The scene in one state, with or without the object: what it looks like, its albedo, its geometry."""

    def __init__(self, parts: list[Part], lights: dict):
        self.lit = load(parts, lights)
        self.albedo = load_glowing(parts, skin)

    def render(self, camera: Camera, samples: int, seed: int) -> np.ndarray:
        """One denoised view, `H W 3` linear radiance."""
        radiance, albedo = (shoot(scene, camera, samples, seed) for scene in (self.lit, self.albedo))
        # averages over 2x2 rays: pixels on an edge then match no surface, and keep what they are
        fine = self.surface(camera, step=0.5)
        position, normal = (cv2.resize(a, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for a in fine)
        return denoise(radiance, albedo, normal, position)

    def surface(self, camera: Camera, step: float) -> tuple[np.ndarray, np.ndarray]:
        """World positions (metres) and normals `H/step W/step 3` at the centres of pixels `step` wide; 0 = nothing."""
        y, x = np.mgrid[step / 2 : HEIGHT : step, step / 2 : WIDTH : step]
        rays = np.stack([x - WIDTH / 2, HEIGHT / 2 - y, np.full_like(x, -camera.focal)], -1) @ camera.pose[:3, :3].T
        origin = mi.Point3f(camera.pose[:3, 3].tolist())
        hits = [self.lit.ray_intersect(mi.Ray3f(origin, mi.Vector3f(ray))) for ray in rays.reshape(-1, 3).tolist()]
        seen = [(*hit.p, *hit.sh_frame.n) if hit.is_valid() else (0,) * 6 for hit in hits]
        return tuple(np.split(np.array(seen).reshape(*x.shape, 6), 2, axis=-1))

    def z_depth(self, camera: Camera) -> np.ndarray:
        """Z-depth in metres at half resolution, `H/2 W/2`, sampled and not averaged; 0 where nothing is hit."""
        position, normal = self.surface(camera, step=2)
        return np.where(normal.any(-1), (camera.pose[:3, 3] - position) @ camera.pose[:3, 2], 0)


def shoot(scene: mi.Scene, camera: Camera, samples: int, seed: int) -> np.ndarray:
    """Mitsuba's image of a scene, `H W 3`, linear."""
    return np.array(mi.render(scene, sensor=sensor(camera, samples), spp=samples, seed=seed))


def denoise(radiance, albedo, normal, position) -> np.ndarray:
    """Smooth the light, not the texture: joint bilateral filtering of radiance / albedo, `H W 3` each.

    A first narrow pass follows the geometry only; a second one, wider, also respects the edges of the light that the
    first has found (shadows, highlights).
    """
    albedo = np.maximum(albedo, 0.02)
    light = radiance / albedo
    rough = _bilateral(light, normal, position, radius=2)
    return _bilateral(light, normal, position, radius=5, guide=np.log(rough.mean(-1) + 1e-3)) * albedo


def _bilateral(light, normal, position, radius, guide=None) -> np.ndarray:
    light, normal, position = (a.transpose(2, 0, 1).astype(np.float32) for a in (light, normal, position))
    guide = np.zeros_like(light[:1]) if guide is None else guide[None].astype(np.float32)
    pad = ((0, 0), (radius, radius), (radius, radius))
    padded = np.pad(np.concatenate([light, normal, position, guide]), pad, mode="edge")
    total, weights = np.zeros_like(light), np.zeros_like(guide)
    height, width = light.shape[1:]
    for dy in range(2 * radius + 1):
        for dx in range(2 * radius + 1):
            there = padded[:, dy : dy + height, dx : dx + width]
            off_plane = ((there[6:9] - position) * normal).sum(0) / 0.004
            cost = off_plane**2 + ((there[3:6] - normal) ** 2).sum(0) / 0.2**2 + ((there[9] - guide[0]) / 0.12) ** 2
            cost += ((dy - radius) ** 2 + (dx - radius) ** 2) / (0.6 * radius) ** 2
            weight = np.exp(-0.5 * cost)
            total += weight * there[:3]
            weights += weight
    return (total / weights).transpose(1, 2, 0)


def object_mask(coverage, with_object, without_object) -> np.ndarray:
    """Pixels to remove, `H W` bool: the object, a 3 px margin, and the shadow and reflections it visibly casts there.

    coverage: `H W` share of each pixel that the object hides. The shadow is where the two photos (`H W 3`, 8-bit sRGB)
    differ by more than 6 % of their value after smoothing, as far as it is connected to the object.
    """
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    body = cv2.dilate((coverage > 0.01).astype(np.uint8), disk)
    before, after = (cv2.GaussianBlur(i.astype(np.float32), (0, 0), 2) for i in (with_object, without_object))
    change = (np.abs(before - after) / (after + 8)).mean(-1)
    shadow = cv2.morphologyEx((change > 0.06).astype(np.uint8), cv2.MORPH_OPEN, disk)
    _, labels = cv2.connectedComponents(shadow | body)
    mask = np.isin(labels, np.unique(labels[body > 0])).astype(np.uint8)
    return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disk) > 0


def to_srgb(radiance: np.ndarray) -> np.ndarray:
    """8-bit sRGB of linear values in [0, 1], those beyond cut off."""
    linear = np.clip(radiance, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)


def write_image(path: Path, image: np.ndarray, quality: int = 92) -> None:
    """Write RGB, grey or 16-bit images; the file appears under its name only when complete. quality: of JPEGs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    options = jpeg if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    data = cv2.imencode(path.suffix, image[..., ::-1] if image.ndim == 3 else image, options)[1]
    partial = path.with_suffix(".partial")
    partial.write_bytes(data.tobytes())
    partial.replace(path)


def is_test(view: int) -> bool:
    return view % TEST_EVERY == 1


def write_transforms(path: Path, cameras: list[Camera]) -> None:
    """The nerfstudio description of the data set."""
    names = [f"images/{view:03d}.jpg" for view in range(len(cameras))]
    poses = [camera.pose.round(8).tolist() for camera in cameras]
    frames = [
        {"file_path": name, "depth_file_path": f"depth/{view:03d}.png", "transform_matrix": pose}
        for view, (name, pose) in enumerate(zip(names, poses, strict=True))
    ]
    layout = {
        "camera_model": "PINHOLE", "w": WIDTH, "h": HEIGHT,
        "fl_x": cameras[0].focal, "fl_y": cameras[0].focal, "cx": WIDTH / 2, "cy": HEIGHT / 2,
        "depth_unit_scale_factor": DEPTH_UNIT,
        "train_filenames": [name for view, name in enumerate(names) if not is_test(view)],
        "test_filenames": [name for view, name in enumerate(names) if is_test(view)],
        "frames": frames,
    }  # fmt: skip
    path.write_text(json.dumps(layout, indent=1) + "\n")


class Studio:
    """A scene with and without its object, ready for photos of both."""

    def __init__(self, scene):
        """scene: a module of SCENES."""
        parts, self.exposure, self.quality = scene.build(), scene.EXPOSURE, scene.JPEG_QUALITY
        removed = {part.name for part in parts if part.name.startswith(scene.REMOVED)}
        kept = [part for part in parts if part.name not in removed]
        self.before, self.after = Stage(parts, scene.lights()), Stage(kept, scene.lights())
        white = {"type": "rgb", "value": 1.0}
        self.silhouette = load_glowing(parts, lambda part: white if part.name in removed else None)

    def photos(self, camera: Camera, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """A view with the object and the same without it, `H W 3` 8-bit sRGB, both with the same noise."""
        renders = [stage.render(camera, samples, seed) for stage in (self.before, self.after)]
        return tuple(to_srgb(radiance * self.exposure) for radiance in renders)


def write_view(folder: Path, view: int, camera: Camera, studio: Studio, samples: int) -> None:
    """All files of one view; the photo comes last, and says that the others are there."""
    start = time.perf_counter()
    with_object, without_object = studio.photos(camera, samples, seed=view)
    coverage = shoot(studio.silhouette, camera, samples=16, seed=view)[..., 0]
    mask = object_mask(coverage, with_object, without_object)
    depth = np.round(studio.after.z_depth(camera) / DEPTH_UNIT).astype(np.uint16)
    write_image(folder / "masks" / f"{view:03d}.png", mask.astype(np.uint8) * 255)
    write_image(folder / "depth" / f"{view:03d}.png", depth)
    if not is_test(view):
        write_image(folder / "truth" / f"{view:03d}.jpg", without_object, studio.quality)
    photo = without_object if is_test(view) else with_object
    write_image(folder / "images" / f"{view:03d}.jpg", photo, studio.quality)
    shares = f"object {coverage.mean():.1%}, mask {mask.mean():.1%} of the image"
    print(f"view {view}: {shares}, {time.perf_counter() - start:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scene", choices=SCENES)
    parser.add_argument("--output", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--samples", type=int, default=36, help="paths per pixel")
    parser.add_argument("--views", type=int, nargs="*", help="only these")
    args = parser.parse_args()

    scene = SCENES[args.scene]
    cameras = [Camera(pose, scene.FIELD_OF_VIEW) for pose in scene.cameras()]
    args.output.mkdir(parents=True, exist_ok=True)
    write_transforms(args.output / "transforms.json", cameras)
    studio = Studio(scene)
    for view, camera in enumerate(cameras):
        wanted = args.views is None or view in args.views
        if wanted and not (args.output / "images" / f"{view:03d}.jpg").exists():
            write_view(args.output, view, camera, studio, args.samples)


if __name__ == "__main__":
    main()
