"""A finished run in the browser: its field from any angle, its cleaned photos, what it did and what it said."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import webbrowser
from collections.abc import Callable
from typing import Any

import torch
from scipy.spatial.transform import Rotation

from unscene.evaluation.report import read_events
from unscene.fields.field import render_view
from unscene.files import read_pixels
from unscene.geometry.cameras import Cameras
from unscene.results.run import Run
from unscene.scenes.transforms import png_names
from unscene.studio.door import LOOPBACK, Door, watching
from unscene.studio.live_view import LiveView, look_from
from unscene.studio.studio_error import StudioError

PORT = 8010  # the first that is tried; the next free one is taken
FRUSTUM = 0.04  # of a photo's camera, as a share of the field's radius


def open_server(host: str = LOOPBACK, port: int = PORT, label: str = "Unscene") -> tuple[Any, str]:
    """A viser server behind its door, and its page's address.

    Raises StudioError without viser, and for an address that is not this machine's.
    """
    try:
        import viser
    except ImportError as error:
        raise StudioError("the studio needs viser; install it with: pip install 'unscene[studio]'") from error
    _check_address(host, port)
    door = Door(host)
    with watching(door), contextlib.redirect_stdout(io.StringIO()):  # it prints an address without the token
        server = viser.ViserServer(host, port, label=label, verbose=False)
    server.gui.configure_theme(control_layout="fixed", dark_mode=True, show_logo=False, show_share_button=False)
    return server, door.address(server.get_port())


def _check_address(host: str, port: int) -> None:
    """viser would try a thousand ports of an address that is not here, and then wait for ever."""
    if not 0 < port < 2**16:
        raise StudioError(f"--port: expected a number from 1 to {2**16 - 1}, got {port}.")
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family) as probe:
            probe.bind(address)
    except OSError as error:
        raise StudioError(f"--host {host}: expected an address of this machine ({error}); 127.0.0.1 is.") from error


def view_run(run: Run, *, host: str = LOOPBACK, port: int = PORT) -> tuple[Any, str]:
    """Show a run; returns the server, which goes on until it is stopped, and the page's address."""
    server, address = open_server(host, port, label=f"{run.folder.name} - Unscene")

    def render(cameras: Cameras) -> torch.Tensor:
        return render_view(run.field, cameras.to(run.cameras.focal.device), 0).color

    _panel(server, run)
    _photo_cameras(server, run)
    LiveView(server, render).start()
    return server, address


def serve_run(
    run: Run, *, host: str, port: int, browser: bool, announce: Callable[[str], None],
    ended: threading.Event | None = None,
) -> None:  # fmt: skip
    """Show a run until it is ended, or interrupted from the keyboard. announce: is told the page's address."""
    server, address = view_run(run, host=host, port=port)
    announce(f"{address}  (Ctrl-C ends it)")
    if browser:
        webbrowser.open(address)
    try:
        (ended or threading.Event()).wait()
    except KeyboardInterrupt:
        pass
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            server.stop()


def _panel(server: Any, run: Run) -> None:
    events = run.folder / "events.jsonl"
    log = read_events(events) if events.is_file() else None
    with server.gui.add_folder("This run"):
        for text in (log.provenance if log else []) or ["no record of what made the pictures"]:
            server.gui.add_markdown(_plain(text))
    names = [run.names[view] for view in run.train.tolist()]
    with server.gui.add_folder("Photos"):
        chosen = server.gui.add_dropdown("photo", names)
        there = server.gui.add_button("look from there")
        shown = server.gui.add_image(_cleaned(run, names[0]), label="without the object", format="jpeg")

        @chosen.on_update
        def _(_: Any) -> None:
            shown.image = _cleaned(run, chosen.value)

        @there.on_click
        def _(event: Any) -> None:
            clients = [event.client] if event.client else server.get_clients().values()
            for client in clients:
                look_from(client.camera, run.cameras, run.names.index(chosen.value), float(run.field.radius))

    if log and log.notes:
        with server.gui.add_folder("Notes", expand_by_default=False):
            for note in log.notes:
                server.gui.add_markdown(_plain(note))

    @server.on_client_connect
    def _(client: Any) -> None:
        look_from(client.camera, run.cameras, int(run.train[len(run.train) // 2]), float(run.field.radius))


def _photo_cameras(server: Any, run: Run) -> None:
    """Where the photos were taken, as small frustums that a click looks through."""
    shown = server.gui.add_checkbox("show where photos were taken", False)
    handles = []
    for view in run.train.tolist():
        pose = run.cameras.T_world_camera[view].cpu().numpy()
        x, y, z, w = Rotation.from_matrix(pose[:, :3]).as_quat()
        handles.append(
            server.scene.add_camera_frustum(
                f"/photos/{view}",
                fov=2 * float(torch.atan(run.cameras.height / 2 / run.cameras.focal[view, 1])),
                aspect=run.cameras.width / run.cameras.height,
                scale=FRUSTUM * float(run.field.radius),
                wxyz=(w, x, y, z),
                position=pose[:, 3],
                visible=False,
            )
        )

    @shown.on_update
    def _(_: Any) -> None:
        for handle in handles:
            handle.visible = shown.value


def _cleaned(run: Run, name: str) -> Any:
    """A cleaned photo, H W 3 uint8; black where the run keeps none."""
    images = (run.folder / "dataset" / "images").resolve()
    file = (images / png_names(run.names)[run.names.index(name)]).resolve()
    pixels = read_pixels(file) if file.is_relative_to(images) and file.is_file() else None
    if pixels is None:
        return torch.zeros(run.cameras.height, run.cameras.width, 3, dtype=torch.uint8).numpy()
    return pixels[..., ::-1].copy()


def _plain(text: str) -> str:
    """Names of files and scenes are shown as they are: no Markdown, no HTML."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]()#+-.!|<>&~" else letter for letter in text)
