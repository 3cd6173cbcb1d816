"""The commands that open a page in the browser. Apart from the others, so that it is there in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from unscene.jobs.mask_options import MaskOptions


def _view(
    run: Positional[Path], host: str = "127.0.0.1", port: int = 8010, browser: bool = True, device: str = "auto"
) -> None:
    """Look at a run in the browser, finished or under way: its field from any angle, its photos, what it said.

    Or at a file of Gaussian splats, which the browser draws.

    Args:
        run: run folder, or a .ply, .splat, .spz or .sog file.
        host: address to listen on. Any but this machine's own lets others in who bring the token that is printed.
        port: of the page; if it is taken, the next free one.
        browser: open the page; off: only print its address.
        device: where to compute: auto (CUDA where it works, else the processor), cpu, cuda or cuda:N.
    """
    if run.is_file():
        from unscene.studio.splat_view import serve_file

        serve_file(run, host=host, port=port, browser=browser, announce=print)
        return
    from unscene.studio.view import serve_run

    serve_run(run, device, host=host, port=port, browser=browser, announce=print)


def _studio(
    source: Positional[Path | None] = None,
    out: Path | None = None,
    scale: float | None = None,
    masks: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8010,
    browser: bool = True,
    options: Annotated[MaskOptions, tyro.conf.arg(name="")] = MaskOptions(),  # noqa: B008
) -> None:
    """Take an object out of photos, a video or a scene in the browser: click it, press Remove, watch, save.

    Everything is kept in OUT as the commands capture, mask and remove leave it; opened again it goes on from there.

    Args:
        source: folder of photos, a video, or a scene in a layout of docs/captures.md; none: the bundled still life.
        out: folder to work in; by default runs/studio/NAME.
        scale: how many times smaller than the photos to work; by default so that they are at most 640 pixels wide.
        masks: folder of masks made by hand for some of the photos: they are kept as they are and teach the rest.
        host: address to listen on. Any but this machine's own lets others in who bring the token that is printed.
        port: of the page; if it is taken, the next free one.
        browser: open the page; off: only print its address.
        options: how objects are masked.
    """
    from unscene.studio.studio import serve_studio

    name = "still-life" if source is None else source.resolve().stem
    serve_studio(
        source, out or Path("runs/studio") / name, scale=scale, masks=masks, options=options, host=host, port=port,
        browser=browser, announce=print,
    )  # fmt: skip


def run(command: str, arguments: list[str]) -> int:
    """Parse the arguments of a command and run it; returns the exit status."""
    function = {"view": _view, "studio": _studio}[command]
    tyro.cli(function, args=arguments, prog=f"unscene {command}", config=(tyro.conf.FlagCreatePairsOff,))
    return 0
