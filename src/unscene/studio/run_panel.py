"""What the page shows of a run, under way or finished: stage and time left, what made the pictures, the photos."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from unscene.evaluation.report import duration_text
from unscene.fields.field import render_view
from unscene.files import read_pixels
from unscene.geometry.cameras import Cameras
from unscene.results.run import SPLATS, Run, open_under_way
from unscene.scenes.transforms import png_names
from unscene.studio.live_view import look_from
from unscene.studio.panel_picture import PanelPicture
from unscene.studio.progress import RunProgress
from unscene.studio.server import plain

FRUSTUM = 0.04  # of a photo's camera, as a share of the field's radius
SECONDS = 1.0  # between two looks at a run under way
CANDIDATE = "candidate-"  # before the names of their pictures
EMPTY = 30  # grey of what is not there yet


class RunPanel:
    """A run's part of the page. It reads the run's folder alone, so it does not matter whose run it is.

    changed: is told when there is another field to render; news: when the run has said anything. order: where on the
    page its progress stands, by default below what is there.
    """

    def __init__(
        self, server: Any, folder: Path, device: str, changed: Callable[[], None], *,
        news: Callable[[], None] = lambda: None, order: float | None = None,
    ):  # fmt: skip
        self.folder, self.device = folder, device
        self.progress = RunProgress(folder)
        self.run: Run | None = None
        self._server, self._changed = server, changed
        self._news: Callable[[], None] = lambda: None
        self._newest, self._pictures = 0.0, dict[str, PanelPicture]()
        self._ended = threading.Event()
        self._frustums: list[Any] = []
        gui = server.gui
        with gui.add_folder("This run", order=order) as self._top:
            self._stage = gui.add_markdown("starts ...")
            self._bar = gui.add_progress_bar(0.0, visible=False)
            self._made = gui.add_markdown("")
        self._candidates = gui.add_folder("Base view", visible=False)
        self._photos: Any = None
        self._notes = gui.add_folder("Notes", expand_by_default=False, visible=False)
        with self._notes:
            self._noted = gui.add_markdown("")
        self.look()
        self._news = news

    @property
    def candidates(self) -> dict[str, Path]:
        """The pictures of candidates for the base view that have come, by what files about their photos are called."""
        files = sorted((self.folder / "previews").glob(f"{CANDIDATE}*.png"))
        return {file.stem.removeprefix(CANDIDATE): file for file in files}

    @property
    def is_finished(self) -> bool:
        return (self.folder / "metrics.json").is_file()

    def follow(self) -> RunPanel:
        """Look again and again, until the run is finished or the panel is removed."""
        threading.Thread(target=self._follow, daemon=True).start()
        return self

    def remove(self) -> None:
        """Take it off the page."""
        self._ended.set()
        for handle in (self._top, self._candidates, self._photos, self._notes, *self._frustums):
            if handle is not None:
                handle.remove()

    def render(self, cameras: Cameras) -> torch.Tensor:
        """What the field shows from a camera, H W 3; grey before there is one."""
        if (run := self.run) is None:
            return torch.full((cameras.height, cameras.width, 3), EMPTY, dtype=torch.uint8)
        return render_view(run.field, cameras.to(run.cameras.focal.device), 0).color

    def look(self) -> None:
        """Show what is new."""
        is_news = self.progress.look()
        self._show_progress()
        self._show_candidates()
        self._take_field()
        if is_news:
            self._news()

    def _follow(self) -> None:
        while not self._ended.wait(SECONDS):
            finished = self.is_finished  # what came before that is shown by the look after it
            self.look()
            if finished:
                return

    def _show_progress(self) -> None:
        stage, progress = self.progress.stage, self.progress
        self._bar.visible = stage is not None and not self.is_finished
        if self.is_finished:
            total = sum(progress.stages.values())
            self._stage.content = f"finished{f', {duration_text(total)} of work' if total else ''}"
        elif stage is not None:
            left = "" if stage.left is None else f", {duration_text(stage.left)} left"
            stopped = "; it has said nothing for a while and may have been stopped" if progress.is_silent else ""
            self._stage.content = f"**{plain(stage.name)}**{left}{stopped}"
            self._bar.value = 100 * stage.share
        made = progress.provenance or (["no record of what made the pictures"] if self.is_finished else [])
        self._made.content = "\n\n".join(plain(text) for text in made)
        self._notes.visible = bool(progress.notes)
        self._noted.content = "\n\n".join(plain(text) for text in progress.notes)

    def _show_candidates(self) -> None:
        for kind in (CANDIDATE, "base-view-"):
            for file in sorted((self.folder / "previews").glob(f"{kind}*.png")):
                if file.name not in self._pictures and (pixels := read_pixels(file)) is not None:
                    self._candidates.visible = True
                    with self._candidates:
                        caption = file.stem.replace("-", " ")
                        self._pictures[file.name] = PanelPicture(self._server.gui, caption, pixels[..., ::-1])

    def _take_field(self) -> None:
        saved = [*(self.folder / "checkpoint").glob("*.safetensors"), self.folder / "field.safetensors"]
        saved.append(self.folder / SPLATS)
        newest = max((file.stat().st_mtime for file in saved if file.is_file()), default=0.0)
        if newest <= self._newest or (run := open_under_way(self.folder, self.device)) is None:
            return
        first, self.run, self._newest = self.run is None, run, newest
        if first:
            self._show_photos(run)
            for client in self._server.get_clients().values():
                look_from_middle(client, run)
        self._changed()

    def _show_photos(self, run: Run) -> None:
        names, server = [run.names[view] for view in run.train.tolist()], self._server
        with server.gui.add_folder("Photos") as self._photos:
            chosen = server.gui.add_dropdown("photo", names)
            there = server.gui.add_button("look from there")
            shown = PanelPicture(server.gui, "without the object", cleaned_photo(run, names[0]))
            marked = server.gui.add_checkbox("show where photos were taken", False)

        @chosen.on_update
        def _(_: Any) -> None:
            shown.show(cleaned_photo(run, chosen.value))

        @there.on_click
        def _(event: Any) -> None:
            clients = [event.client] if event.client else server.get_clients().values()
            for client in clients:
                look_from(client.camera, run.cameras, run.names.index(chosen.value), float(run.field.radius))

        @marked.on_update
        def _(_: Any) -> None:
            self._frustums = self._frustums or photo_cameras(server, run)
            for handle in self._frustums:
                handle.visible = marked.value


def look_from_middle(client: Any, run: Run) -> None:
    """Put a client's camera where the photo in the middle of the row was taken."""
    look_from(client.camera, run.cameras, int(run.train[len(run.train) // 2]), float(run.field.radius))


def photo_cameras(server: Any, run: Run) -> list[Any]:
    """Where the photos were taken, as small frustums."""
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
            )
        )
    return handles


def cleaned_photo(run: Run, name: str) -> np.ndarray:
    """A cleaned photo, H W 3 uint8; grey where the run keeps none, or none yet."""
    images = (run.folder / "dataset" / "images").resolve()
    file = (images / png_names(run.names)[run.names.index(name)]).resolve()
    pixels = read_pixels(file) if file.is_relative_to(images) and file.is_file() else None
    if pixels is None:
        return np.full((run.cameras.height, run.cameras.width, 3), EMPTY, np.uint8)
    return pixels[..., ::-1].copy()
