"""`unscene view`: a run in the browser, under way or finished."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unscene.fields.splats import Splats
from unscene.studio.door import LOOPBACK
from unscene.studio.live_view import LiveView
from unscene.studio.run_panel import RunPanel, look_from_middle
from unscene.studio.server import PORT, OpenPage, keep_open, open_server
from unscene.studio.splat_view import show_splats
from unscene.training.run import RunFolder


def view_run(folder: Path, device: str = "auto", *, host: str = LOOPBACK, port: int = PORT) -> OpenPage:
    """Show a run, until the page is closed.

    Raises RunError for a folder that is none.
    """
    RunFolder.open(folder)
    server, address = open_server(host, port, label=f"{folder.name} - Unscene")
    live = LiveView(server, lambda cameras: panel.render(cameras))
    panel = RunPanel(server, folder, device, live.changed)
    if panel.run is not None and isinstance(panel.run.field, Splats) and panel.is_finished:
        show_splats(server, panel.run.field.used)
    else:
        live.start()

    @server.on_client_connect
    def _(client: Any) -> None:
        if panel.run is not None:
            look_from_middle(client, panel.run)

    panel.follow()

    def closing() -> None:
        panel.remove()
        live.stop()

    return OpenPage(server, address, closing)


def serve_run(
    folder: Path, device: str, *, host: str, port: int, browser: bool, announce: Callable[[str], None],
    ended: threading.Event | None = None,
) -> None:  # fmt: skip
    """Show a run until it is ended, or interrupted from the keyboard. announce: is told the page's address."""
    page = view_run(folder, device, host=host, port=port)
    keep_open(page, browser=browser, announce=announce, ended=ended)
