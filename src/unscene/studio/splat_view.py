"""Gaussian splats in the browser, drawn there: any file of them, or the field of a run that fitted them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from unscene.geometry.gaussians import Gaussians
from unscene.splat_files.formats import read_splats
from unscene.studio.door import LOOPBACK
from unscene.studio.server import PORT, OpenPage, keep_open, open_server, plain

MOST_SIZES = 250.0  # whose square is half precision's end; a Gaussian's largest, in median sizes
FAR = 3.0  # from the middle of the splats, in spreads of them, where a visitor begins


def view_file(
    path: Path, *, host: str = LOOPBACK, port: int = PORT, announce: Callable[[str], None] = lambda text: None
) -> OpenPage:
    """Show a file of splats, until the page is closed. announce: is told how much memory it takes, before it does.

    Raises SplatError for a file that is none.
    """
    content = read_splats(path, announce=announce)
    server, address = open_server(host, port, label=f"{path.name} - Unscene")
    gaussians = content.gaussians
    show_splats(server, gaussians)
    lines = [f"{len(gaussians):,} Gaussians of degree {gaussians.degree}", *content.notes]
    if gaussians.degree:
        lines.append("what depends on the direction is not shown here")
    server.gui.add_markdown("\n\n".join(plain(line) for line in lines))

    @server.on_client_connect
    def _(client: Any) -> None:
        look_at(client.camera, gaussians)

    return OpenPage(server, address, lambda: None)


def serve_file(
    path: Path, *, host: str, port: int, browser: bool, announce: Callable[[str], None],
    ended: threading.Event | None = None,
) -> None:  # fmt: skip
    """Show a file of splats until it is ended, or interrupted from the keyboard."""
    page = view_file(path, host=host, port=port, announce=announce)
    keep_open(page, browser=browser, announce=announce, ended=ended)


def show_splats(server: Any, gaussians: Gaussians) -> Any:
    """Hand Gaussians to every visitor's browser, which draws them; their base colours only.

    viser sends covariances as half-precision floats, so they are counted in the median size.
    """
    size = float(gaussians.scales.median())
    axes = gaussians.rotations * (gaussians.scales / size).clamp_max(MOST_SIZES)[:, None]
    return server.scene.add_gaussian_splats(
        "/splats",
        centers=(gaussians.means / size).cpu().numpy(),
        scale=size,
        covariances=(axes @ axes.mT).cpu().numpy(),
        rgbs=gaussians.base_colors.clamp(0, 1).cpu().numpy(),
        opacities=gaussians.opacities[:, None].cpu().numpy(),
    )


def look_at(camera: Any, gaussians: Gaussians) -> None:
    """Put a visitor's camera before the middle of the splats, with y down as files of splats have it."""
    middle = gaussians.means.median(0).values
    spread = (gaussians.means - middle).norm(dim=-1).median()
    camera.up_direction = (0.0, -1.0, 0.0)
    camera.position = (middle - FAR * spread * torch.tensor([0.0, 0.0, 1.0])).double().numpy()
    camera.look_at = middle.double().numpy()
