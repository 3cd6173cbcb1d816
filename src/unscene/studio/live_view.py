"""A field in the browser from any angle: rendered here for wherever a visitor's camera is, coarse while it moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from unscene.files import to_uint8
from unscene.geometry.cameras import Cameras

ROWS = (72, 180, 480)  # of the pictures that follow a movement, the last once it rests
PACE = 0.1  # seconds between two pictures: a browser that gets the next one while it loads one complains
REST = 0.15  # seconds without a movement before the finest is drawn
LAST_PICTURE = 5.0  # seconds that a picture may take at the end
JPEG_QUALITY = 85

Render = Callable[[Cameras], Tensor]
"""One camera -> H W 3, float in [0, 1] or uint8; called from several threads, one call at a time."""


@dataclass
class LiveView:
    """Shows a render to every client of a viser server, each from its own camera."""

    server: Any
    render: Render
    rows: tuple[int, ...] = ROWS
    _moved: dict[int, threading.Event] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> LiveView:
        """Follow the clients that are there and that come."""
        self.server.on_client_connect(self._follow)
        self.server.on_client_disconnect(lambda client: self._leave(client.client_id))
        for client in self.server.get_clients().values():
            self._follow(client)
        return self

    def stop(self) -> None:
        """Draw no more, and wait for what is being drawn: an interpreter that ends meanwhile would crash."""
        for client in list(self._moved):
            self._leave(client)
        for thread in self._threads:
            thread.join(LAST_PICTURE)

    def changed(self) -> None:
        """Draw anew for all, since what is shown is another."""
        for moved in list(self._moved.values()):
            moved.set()

    def _follow(self, client: Any) -> None:
        moved = self._moved[client.client_id] = threading.Event()
        client.camera.on_update(lambda camera: moved.set())
        moved.set()
        thread = threading.Thread(target=self._draw, args=(client, moved), daemon=True)
        self._threads = [*(thread for thread in self._threads if thread.is_alive()), thread]
        thread.start()

    def _leave(self, client: int) -> None:
        if moved := self._moved.pop(client, None):
            moved.set()  # wakes its thread, which ends

    def _draw(self, client: Any, moved: threading.Event) -> None:
        while moved.wait() and client.client_id in self._moved:
            moved.clear()
            finer = self.rows
            for place, rows in enumerate(finer, 1):
                if 1 < place == len(finer) and moved.wait(REST):
                    break
                with self._turn:
                    image = self.render(cameras_of(client.camera, rows))
                pixels = np.ascontiguousarray(to_uint8(image).cpu().numpy())
                client.scene.set_background_image(pixels, format="jpeg", jpeg_quality=JPEG_QUALITY)
                time.sleep(PACE)
                if moved.is_set():
                    break


def cameras_of(camera: Any, rows: int) -> Cameras:
    """A client's camera at so many rows; viser's are OpenCV's too, with a vertical field of view in radians."""
    columns = max(1, round(rows * camera.aspect))
    pose = torch.eye(4)[None, :3]
    w, x, y, z = camera.wxyz
    pose[0, :, :3] = torch.from_numpy(Rotation.from_quat([x, y, z, w]).as_matrix())
    pose[0, :, 3] = torch.as_tensor(np.asarray(camera.position), dtype=torch.float32)
    focal = rows / 2 / np.tan(camera.fov / 2)
    return Cameras(
        pose, torch.full((1, 2), float(focal)), torch.tensor([[columns / 2, rows / 2]]), torch.zeros(1, 5),
        width=columns, height=rows,
    )  # fmt: skip


def look_from(camera: Any, cameras: Cameras, view: int, depth: float) -> None:
    """Put a client's camera where a photo was taken; depth: of what it then turns around, world units."""
    pose = cameras.T_world_camera[view].cpu().double().numpy()
    position, forward = pose[:, 3], pose[:, 2]
    camera.up_direction = -pose[:, 1]
    camera.position = position
    camera.look_at = position + forward * depth
    camera.fov = 2 * float(np.arctan(cameras.height / 2 / cameras.focal[view, 1].item()))
