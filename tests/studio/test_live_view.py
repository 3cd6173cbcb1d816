"""Every visitor sees the field from where they look, coarse at once and fine when they rest."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from unscene.geometry.cameras import Cameras
from unscene.studio.live_view import LiveView, cameras_of, look_from


class Client:
    """What of viser's client a live view uses."""

    def __init__(self, number: int = 0):
        self.client_id, self.seen = number, []
        self.camera = SimpleNamespace(
            wxyz=np.array([1.0, 0, 0, 0]), position=np.zeros(3), fov=1.0, aspect=4 / 3, on_update=self._keep
        )
        self.scene = SimpleNamespace(set_background_image=lambda image, **options: self.seen.append(image))

    def _keep(self, callback) -> None:
        self.move = lambda: callback(self.camera)


class Server:
    def __init__(self, *clients: Client):
        self.clients = {client.client_id: client for client in clients}

    def get_clients(self):
        return self.clients

    def on_client_connect(self, callback) -> None:
        self.connect = callback

    def on_client_disconnect(self, callback) -> None:
        self.disconnect = callback


def until(condition, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def test_a_picture_gets_finer_and_is_drawn_anew_after_a_movement():
    client, drawn = Client(), []
    view = LiveView(Server(client), lambda cameras: (drawn.append(cameras), torch.rand(cameras.height, cameras.width, 3))[1], rows=(6, 12, 24))  # fmt: skip  # noqa: E501
    view.start()
    until(lambda: len(client.seen) == 3)
    assert [image.shape for image in client.seen] == [(6, 8, 3), (12, 16, 3), (24, 32, 3)]
    client.camera.position = np.array([1.0, 2, 3])
    client.move()
    until(lambda: len(client.seen) == 6)
    assert drawn[-1].positions.tolist() == [[1, 2, 3]]
    view.changed()
    until(lambda: len(client.seen) == 9)


def test_visitors_come_and_go():
    server, gone, stays = Server(), Client(1), Client(2)
    view = LiveView(server, lambda cameras: torch.zeros(cameras.height, cameras.width, 3), rows=(6,)).start()
    for client in (gone, stays):
        server.connect(client)
    until(lambda: gone.seen and stays.seen)
    server.disconnect(gone)
    until(lambda: threading.active_count() >= 1 and 1 not in view._moved)
    before = len(gone.seen)
    view.changed()
    until(lambda: len(stays.seen) >= 2)
    assert len(gone.seen) == before


@pytest.mark.parametrize("seed", range(3))
def test_quaternions_are_turned_into_matrices_as_scipy_does(seed):
    rotation = Rotation.random(random_state=seed)
    x, y, z, w = rotation.as_quat()
    camera = Client().camera
    camera.wxyz = np.array([w, x, y, z])
    turned = cameras_of(camera, 60).T_world_camera[0, :, :3]
    assert np.allclose(turned.numpy(), rotation.as_matrix(), atol=1e-6)


def test_a_client_s_camera_sees_what_its_field_of_view_spans():
    camera = Client().camera
    cameras = cameras_of(camera, 60)
    top = torch.tensor([[0.0, -np.tan(0.5) * 2, 2.0]], dtype=torch.float32)  # on the upper edge, two units away
    pixels, depth = cameras.project(torch.zeros(1, dtype=torch.long), top)
    assert torch.allclose(pixels, torch.tensor([[40.0, 0.0]]), atol=1e-3) and depth.item() == pytest.approx(2)


def test_looking_from_a_photo_s_place():
    pose = torch.eye(4)[None, :3].clone()
    pose[0, :, :3] = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    pose[0, :, 3] = torch.tensor([1.0, 2, 3])
    cameras = Cameras(pose, torch.full((1, 2), 50.0), torch.tensor([[40.0, 30.0]]), torch.zeros(1, 5), 80, 60)
    camera = SimpleNamespace()
    look_from(camera, cameras, 0, depth=2.0)
    assert camera.look_at.tolist() == [3, 2, 3] and camera.position.tolist() == [1, 2, 3]
    assert camera.up_direction.tolist() == [0, -1, 0] and camera.fov == pytest.approx(2 * np.arctan(30 / 50))
