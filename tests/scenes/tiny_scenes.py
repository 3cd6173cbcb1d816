"""Tiny scenes of every format, written into a temporary folder, and what OpenCV sees in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from unscene.geometry.cameras import Cameras, look_at

SIZE = (32, 24)
FOCAL, PRINCIPAL = (40.0, 42.0), (15.5, 12.25)
DISTORTION = {"k1": 0.05, "k2": -0.01, "p1": 0.002, "p2": -0.001, "k3": 0.003}
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


class TinyScene:
    """A scene folder in the making: six cameras around the origin, photos, masks, and any format's files."""

    def __init__(self, root: Path, views: int = 6) -> None:
        self.root = root
        self.names = [f"{view:03}.png" for view in range(views)]
        angle = torch.arange(views) * 0.3
        positions = torch.stack([3 * angle.sin(), 0.2 * angle - 0.5, -3 * angle.cos()], -1).double()
        up = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
        self.poses = look_at(positions, torch.zeros(3, dtype=torch.float64), up).numpy()

    def photos(self, folder: str = "images", size: tuple[int, int] = SIZE, names: Sequence[str] | None = None) -> None:
        for view, name in enumerate(names or self.names):
            self.photo(f"{folder}/{name}", size, seed=view)

    def photo(self, path: str, size: tuple[int, int] = SIZE, seed: int = 0) -> None:
        self.array(path, np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))

    def masks(
        self, folder: str = "masks", size: tuple[int, int] = SIZE, names: Sequence[str] | None = None, white: int = 255
    ) -> None:
        for name in names or self.names:
            mask = np.zeros((size[1], size[0]), np.uint8)
            mask[: size[1] // 2, : size[0] // 4] = white
            self.array(f"{folder}/{name}", mask)

    def array(self, path: str, pixels: np.ndarray) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(self.root / path), pixels)

    def json(self, content: object, name: str = "transforms.json") -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(json.dumps(content))
        return self.root / name

    def matrix(self, view: int) -> list[list[float]]:
        """The pose of a view in transforms.json: 4 4, OpenGL axes."""
        return (np.concatenate([self.poses[view], [[0, 0, 0, 1]]]) @ OPENGL).tolist()

    def transforms(self) -> dict:
        """Content of a nerfstudio transforms.json."""
        lens = {"fl_x": FOCAL[0], "fl_y": FOCAL[1], "cx": PRINCIPAL[0], "cy": PRINCIPAL[1], "w": SIZE[0], "h": SIZE[1]}
        frames = [{"file_path": f"images/{n}", "transform_matrix": self.matrix(v)} for v, n in enumerate(self.names)]
        return {"camera_model": "OPENCV", **lens, **DISTORTION, "frames": frames}

    def nerfstudio(self) -> Path:
        self.photos()
        self.json(self.transforms())
        return self.root

    def llff(self, size: tuple[int, int] = SIZE, focal: float = FOCAL[0]) -> np.ndarray:
        """Rows of poses_bounds.npy, written and returned."""
        right, down, forward, position = (self.poses[:, :, i] for i in range(4))
        lens = np.broadcast_to([float(size[1]), size[0], focal], position.shape)
        matrices = np.stack([down, right, -forward, position, lens], -1)
        rows = np.concatenate([matrices.reshape(-1, 15), np.ones((len(matrices), 2))], 1)
        self.root.mkdir(parents=True, exist_ok=True)
        np.save(self.root / "poses_bounds.npy", rows)
        return rows

    def colmap(
        self, model: str, params: Sequence[float], *, folder: str = "sparse/0", text: bool = False,
        size: tuple[int, int] = SIZE, cameras: int = 1, points_at: tuple[float, float, float] = (0, 0, 0),
    ) -> None:  # fmt: skip
        """A COLMAP model with 10 points, seen by nobody, whose images take turns with equal cameras."""
        import pycolmap

        reconstruction = pycolmap.Reconstruction()
        for i in range(cameras):
            camera = pycolmap.Camera(model=model, width=size[0], height=size[1], params=list(params), camera_id=1 + i)
            reconstruction.add_camera_with_trivial_rig(camera)
        # Ids run against the order of names, as they do in real models.
        for image_id, view in enumerate(reversed(range(len(self.names))), start=1):
            pose = pycolmap.Rigid3d(self.poses[view]).inverse()
            image = pycolmap.Image(name=self.names[view], camera_id=1 + view % cameras, image_id=image_id)
            reconstruction.add_image_with_trivial_frame(image, pose)
        for i in range(10):
            position = np.array([i, 0.5, -1.0]) + points_at
            reconstruction.add_point3D(position, pycolmap.Track(), np.array([i, 2, 3], np.uint8))
        (self.root / folder).mkdir(parents=True)
        (reconstruction.write_text if text else reconstruction.write_binary)(self.root / folder)

    def projected(self, points: np.ndarray, view: int, distortion: Sequence[float], focal: tuple = FOCAL) -> np.ndarray:
        """Where OpenCV sees world points in a view with the principal point `PRINCIPAL`, P 2."""
        rotation, position = self.poses[view, :, :3], self.poses[view, :, 3]
        K = np.array([[focal[0], 0, PRINCIPAL[0]], [0, focal[1], PRINCIPAL[1]], [0, 0, 1]])
        rvec = cv2.Rodrigues(rotation.T)[0]
        return cv2.projectPoints(points, rvec, -rotation.T @ position, K, np.array(distortion))[0][:, 0]


def project(cameras: Cameras, view: int, points: np.ndarray) -> np.ndarray:
    return cameras.project(torch.full((len(points),), view), torch.from_numpy(points).float())[0].numpy()
