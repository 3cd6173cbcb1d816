"""Render the still life data set: posed views with and without the object, object masks and true depth.

    python scripts/render_still_life.py --samples 36 --output src/unscene/scenes/still_life

Needs `mitsuba`, `numpy`, `scipy` and `opencv`. Views that are already there are kept, so an interrupted run goes on
where it stopped. Protocol as in SPIn-NeRF: train views show the object, test views do not.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import mitsuba as mi
import numpy as np
import still_life_scene as still_life
from scipy.stats import qmc

WIDTH, HEIGHT, FIELD_OF_VIEW = 320, 240, 52.0  # the angle in degrees, horizontal
VIEWS, TEST_EVERY = 60, 3
EXPOSURE = 1.25
DEPTH_UNIT = 1e-4  # metres per step of the depth images
FOCAL = WIDTH / 2 / np.tan(np.radians(FIELD_OF_VIEW / 2))


def cameras() -> np.ndarray:
    """Camera-to-world matrices `V 4 4` (OpenGL axes: x right, y up, z back) on a dome in front of the table.

    Azimuth +-38 degrees, elevation 12 to 42, radius 0.95 m +-12 %, targets a few centimetres around the object, from
    a scrambled Halton sequence; sorted from left to right, so that every third view is a fair test set.
    """
    low, high = [-38, 12, 0.836, -0.03, -0.01, 0.05], [38, 42, 1.064, 0.07, 0.07, 0.10]
    points = qmc.scale(qmc.Halton(6, rng=np.random.default_rng(7)).random(VIEWS), low, high)
    poses = np.tile(np.eye(4), (VIEWS, 1, 1))
    for pose, (azimuth, elevation, radius, *target) in zip(poses, points[np.argsort(points[:, 0])], strict=True):
        azimuth, elevation = np.radians([azimuth, elevation])
        back = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
        right = np.array([np.cos(azimuth), np.sin(azimuth), 0])
        pose[:3] = np.column_stack([right, np.cross(back, right), back, np.array(target) + radius * back])
    return poses


def sensor(pose: np.ndarray, samples: int) -> mi.Sensor:
    """A Mitsuba camera (x left, y up, z forward) for an OpenGL pose."""
    film = {"type": "hdrfilm", "width": WIDTH, "height": HEIGHT, "pixel_format": "rgb", "rfilter": {"type": "box"}}
    return mi.load_dict({
        "type": "perspective", "fov": FIELD_OF_VIEW, "fov_axis": "x", "near_clip": 0.01,
        "to_world": mi.ScalarTransform4f(pose @ np.diag([-1.0, 1, -1, 1])),
        "film": film, "sampler": {"type": "multijitter", "sample_count": samples},
    })  # fmt: skip


class Stage:
    """The scene in one state, with or without the object: what it looks like, its albedo, its geometry."""

    def __init__(self, parts: list[still_life.Part]):
        self.lit = still_life.load(parts)
        self.albedo = still_life.load_glowing(parts, still_life.skin)

    def render(self, pose: np.ndarray, samples: int, seed: int) -> np.ndarray:
        """One denoised view, `H W 3` linear radiance."""
        radiance, albedo = (shoot(scene, pose, samples, seed) for scene in (self.lit, self.albedo))
        # averages over 2x2 rays: pixels on an edge then match no surface, and keep what they are
        fine = self.surface(pose, step=0.5)
        position, normal = (cv2.resize(a, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for a in fine)
        return denoise(radiance, albedo, normal, position)

    def surface(self, pose: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
        """World positions (metres) and normals `H/step W/step 3` at the centres of pixels `step` wide; 0 = nothing."""
        y, x = np.mgrid[step / 2 : HEIGHT : step, step / 2 : WIDTH : step]
        rays = np.stack([x - WIDTH / 2, HEIGHT / 2 - y, np.full_like(x, -FOCAL)], -1) @ pose[:3, :3].T
        origin = mi.Point3f(pose[:3, 3].tolist())
        hits = [self.lit.ray_intersect(mi.Ray3f(origin, mi.Vector3f(ray))) for ray in rays.reshape(-1, 3).tolist()]
        seen = [(*hit.p, *hit.sh_frame.n) if hit.is_valid() else (0,) * 6 for hit in hits]
        return tuple(np.split(np.array(seen).reshape(*x.shape, 6), 2, axis=-1))

    def z_depth(self, pose: np.ndarray) -> np.ndarray:
        """Z-depth in metres at half resolution, `H/2 W/2`, sampled and not averaged; 0 where nothing is hit."""
        position, normal = self.surface(pose, step=2)
        return np.where(normal.any(-1), (pose[:3, 3] - position) @ pose[:3, 2], 0)


def shoot(scene: mi.Scene, pose: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Mitsuba's image of a scene, `H W 3`, linear."""
    return np.array(mi.render(scene, sensor=sensor(pose, samples), spp=samples, seed=seed))


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

    coverage: `H W` share of each pixel that the object hides. The shadow is where the two renders (`H W 3`, linear)
    differ by more than 6 % of the displayed value after smoothing, as far as it is connected to the object.
    """
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    body = cv2.dilate((coverage > 0.01).astype(np.uint8), disk)
    before, after = (cv2.GaussianBlur(to_srgb(i).astype(np.float32), (0, 0), 2) for i in (with_object, without_object))
    change = (np.abs(before - after) / (after + 8)).mean(-1)
    shadow = cv2.morphologyEx((change > 0.06).astype(np.uint8), cv2.MORPH_OPEN, disk)
    _, labels = cv2.connectedComponents(shadow | body)
    mask = np.isin(labels, np.unique(labels[body > 0])).astype(np.uint8)
    return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disk) > 0


def to_srgb(radiance: np.ndarray) -> np.ndarray:
    """8-bit sRGB at the fixed exposure, the same for all views."""
    linear = np.clip(radiance * EXPOSURE, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write RGB, grey or 16-bit images; the file appears under its name only when complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    options = jpeg if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    data = cv2.imencode(path.suffix, image[..., ::-1] if image.ndim == 3 else image, options)[1]
    partial = path.with_suffix(".partial")
    partial.write_bytes(data.tobytes())
    partial.replace(path)


def is_removed(part: still_life.Part) -> bool:
    return part.name.startswith(still_life.REMOVED)


def is_test(view: int) -> bool:
    return view % TEST_EVERY == 1


def write_transforms(path: Path, poses: np.ndarray) -> None:
    """The nerfstudio description of the data set."""
    names = [f"images/{view:03d}.jpg" for view in range(len(poses))]
    frames = [
        {"file_path": name, "depth_file_path": f"depth/{view:03d}.png", "transform_matrix": pose.round(8).tolist()}
        for view, (name, pose) in enumerate(zip(names, poses, strict=True))
    ]
    layout = {
        "camera_model": "PINHOLE", "w": WIDTH, "h": HEIGHT,
        "fl_x": FOCAL, "fl_y": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2,
        "depth_unit_scale_factor": DEPTH_UNIT,
        "train_filenames": [name for view, name in enumerate(names) if not is_test(view)],
        "test_filenames": [name for view, name in enumerate(names) if is_test(view)],
        "frames": frames,
    }  # fmt: skip
    path.write_text(json.dumps(layout, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--samples", type=int, default=36, help="paths per pixel")
    args = parser.parse_args()

    parts = still_life.build()
    before, after = Stage(parts), Stage([part for part in parts if not is_removed(part)])
    white = {"type": "rgb", "value": 1.0}
    silhouette = still_life.load_glowing(parts, lambda part: white if is_removed(part) else None)
    poses = cameras()
    args.output.mkdir(parents=True, exist_ok=True)
    write_transforms(args.output / "transforms.json", poses)
    for view, pose in enumerate(poses):
        image_path = args.output / "images" / f"{view:03d}.jpg"
        if image_path.exists():  # written last
            continue
        start = time.perf_counter()
        with_object, without_object = (stage.render(pose, args.samples, seed=view) for stage in (before, after))
        coverage = shoot(silhouette, pose, samples=16, seed=view)[..., 0]
        mask = object_mask(coverage, with_object, without_object)
        depth = np.round(after.z_depth(pose) / DEPTH_UNIT).astype(np.uint16)
        write_image(args.output / "masks" / f"{view:03d}.png", mask.astype(np.uint8) * 255)
        write_image(args.output / "depth" / f"{view:03d}.png", depth)
        if not is_test(view):
            write_image(args.output / "truth" / f"{view:03d}.jpg", to_srgb(without_object))
        write_image(image_path, to_srgb(without_object if is_test(view) else with_object))
        shares = f"object {coverage.mean():.1%}, mask {mask.mean():.1%} of the image"
        print(f"view {view}: {shares}, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
