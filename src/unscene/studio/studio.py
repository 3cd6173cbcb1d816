"""`unscene studio`: from photos, a video or a scene to the scene without the object, in the browser."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from unscene.files import atomic_write
from unscene.jobs.mask_options import MaskOptions
from unscene.scenes.still_life import still_life
from unscene.scenes.transforms import write_transforms
from unscene.studio.door import LOOPBACK
from unscene.studio.page import Page
from unscene.studio.server import PORT, OpenPage, keep_open, open_server
from unscene.studio.studio_error import StudioError
from unscene.studio.workshop import Workshop


def open_studio(
    source: Path | None, out: Path, *, scale: float | None = None, masks: Path | None = None,
    options: MaskOptions = MaskOptions(), host: str = LOOPBACK, port: int = PORT,  # noqa: B008
) -> tuple[OpenPage, Workshop]:  # fmt: skip
    """Open the page on photos, a video or a scene, None for the bundled still life; returns at once.

    Returns the page and the workshop behind it. Raises StudioError for what is not there.
    """
    if source is not None and not source.exists():
        raise StudioError(f"{source}: expected a folder of photos, a video or a scene, found nothing; check the path.")
    if out.exists() and not out.is_dir():
        raise StudioError(f"{out}: expected a folder to work in, got a file; choose another --out.")
    label = "still life" if source is None else source.resolve().name
    server, address = open_server(host, port, label=f"{label} - Unscene")
    workshop = Workshop(source or _still_life(out), out, scale=scale, masks=masks, options=options)
    page = Page(server, workshop, options.device)
    workshop.open_scene()
    return OpenPage(server, address, page.close), workshop


def serve_studio(
    source: Path | None, out: Path, *, scale: float | None, masks: Path | None, options: MaskOptions, host: str,
    port: int, browser: bool, announce: Callable[[str], None], ended: threading.Event | None = None,
) -> None:  # fmt: skip
    """Serve the studio until it is ended, or interrupted from the keyboard. announce: is told the page's address."""
    page, workshop = open_studio(source, out, scale=scale, masks=masks, options=options, host=host, port=port)
    keep_open(page, browser=browser, announce=announce, ended=ended)
    if workshop.was_cut_off:
        announce(f"the removal was stopped; it goes on with: {workshop.removals.command_text} --resume")


def _still_life(out: Path) -> Path:
    """The bundled still life as a scene folder with nothing masked."""
    folder = out / "scene"
    if not (folder / "transforms.json").is_file():
        with atomic_write(folder) as partial:
            write_transforms(partial, still_life().with_masks(None))
    return folder
