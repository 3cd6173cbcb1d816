"""`unscene studio`: the page on which a user opens photos, points at an object and watches it go."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unscene.evaluation.mask_report import overlay, side_by_side
from unscene.evaluation.report import duration_text
from unscene.file_names import view_files
from unscene.geometry.cameras import Cameras
from unscene.studio.canvas import GROUND, drawn, in_photo
from unscene.studio.live_view import ROWS, LiveView
from unscene.studio.panel_picture import PanelPicture
from unscene.studio.pointed import Pointed
from unscene.studio.run_panel import RunPanel, cleaned_photo, look_from_middle
from unscene.studio.server import plain
from unscene.studio.workshop import Workshop

PHOTO, CLEANED, AROUND = "photo", "without the object", "from any angle"
OBJECT, NOT_OBJECT, BOX = "click the object", "click what must stay", "draw a box around it"
PHOTO_ROWS = (720,)
THUMBNAIL = 110  # pixels of the photos on the sheet
LEAST_BOX = 0.01  # of the photo's sides: a smaller one is a slip of the hand

HELP = (
    "**1** Click the object in the photo, or draw a box around it. **2** See it tinted in all photos; add or take away "
    "with further clicks. **3** Press *Remove*."
)


class Page:
    """The studio's page. All visitors see the same; what they do goes to the workshop."""

    def __init__(self, server: Any, workshop: Workshop, device: str = "auto"):
        self._server, self._workshop, self._device = server, workshop, device
        self._panel: RunPanel | None = None
        self._sheet_of: Pointed | None = None
        self._waiting = 0
        self._lock = threading.RLock()
        self._live = LiveView(server, self._render, PHOTO_ROWS)
        gui = server.gui
        self._state = gui.add_markdown("opens ...")
        self._bar = gui.add_progress_bar(0.0, visible=False)
        self._help = gui.add_markdown(HELP)
        self._shown = gui.add_dropdown("show", (PHOTO,))
        self._view = gui.add_slider("photo", 0, 1, 1, 0, visible=False)
        self._name = gui.add_markdown("")
        with gui.add_folder("Object", visible=False) as self._object:
            self._which = gui.add_dropdown("object", ("object",), visible=False)
            self._tool = gui.add_dropdown("tool", (OBJECT, NOT_OBJECT, BOX))
            self._scales = gui.add_dropdown("meant is", ("1",), visible=False)
            self._sheet = PanelPicture(gui, "in all photos")
            self._undo = gui.add_button("Undo", disabled=True)
            self._anew = gui.add_button("Start over", disabled=True)
            self._beside = gui.add_button("Another object", disabled=True)
        with gui.add_folder("Removal", visible=False) as self._removal:
            self._effort = gui.add_slider("effort", 0.1, 3.0, 0.1, 1.0)
            self._seed = gui.add_number("seed", 0, min=0, step=1)
            self._remove = gui.add_button("Remove", disabled=True, color="green")
            self._stop = gui.add_button("Stop", visible=False, color="red")
            self._go_on = gui.add_button("Go on", visible=False)
            self._earlier = gui.add_dropdown("removal", ("1",), visible=False)
            self._command = gui.add_markdown("")
        with gui.add_folder("Another base view", visible=False) as self._another:
            self._base = gui.add_dropdown("photo", ("1",))
            self._take = gui.add_button("Take this candidate")
            self._anew_inside = gui.add_button("Inpaint it anew")
            self._own = gui.add_upload_button("Take an own picture of it", mime_type="image/*")
        with gui.add_folder("Save", visible=False) as self._save:
            self._where = gui.add_markdown("")
            for label, made in (
                ("Cleaned data set", lambda run: (f"{run.name}.zip", zipped(run / "dataset"))),
                ("Video", lambda run: ("video.mp4", (run / "video.mp4").read_bytes())),
                ("Points", lambda run: ("scene.ply", (run / "scene.ply").read_bytes())),
                ("Report", lambda run: ("report.html", (run / "report.html").read_bytes())),
            ):
                self._add_download(label, made)
        with gui.add_folder("Notes on the scene", expand_by_default=False, visible=False) as self._notes:
            self._noted = gui.add_markdown("")
        self._connect()
        workshop.changed = self.refresh
        self._live.start()
        self._follow_pointer()
        self.refresh()

    def close(self) -> None:
        """Follow nothing any more."""
        self._workshop.close()
        if self._panel is not None:
            self._panel.remove()
        self._live.stop()

    # What happens

    def _connect(self) -> None:
        workshop = self._workshop
        self._shown.on_update(lambda _: self._show_other())
        self._view.on_update(lambda _: self._show_view())
        self._tool.on_update(lambda _: self._follow_pointer())
        self._undo.on_click(lambda _: workshop.undo())
        self._anew.on_click(lambda _: workshop.start_over())
        self._beside.on_click(lambda _: workshop.another_object())
        self._remove.on_click(lambda _: self._remove_first())
        self._stop.on_click(lambda _: workshop.removals.stop())
        self._go_on.on_click(lambda _: workshop.go_on())
        self._take.on_click(lambda _: self._remove_again(self._candidate()))
        self._anew_inside.on_click(lambda _: self._remove_again(None))

        @self._own.on_upload
        def _(_: Any) -> None:
            brought = self._own.value
            workshop.do(lambda: self._remove_again(workshop.keep_picture(brought.name, brought.content)))

        @self._which.on_update
        def _(event: Any) -> None:
            if event.client is not None:
                workshop.turn_to(self._which.value)

        @self._scales.on_update
        def _(event: Any) -> None:
            if event.client is not None:  # a person, not this page
                workshop.choose(int(self._scales.value) - 1)

        @self._earlier.on_update
        def _(event: Any) -> None:
            if event.client is not None:
                workshop.look_at(workshop.removals.folder / self._earlier.value)

        @self._server.on_client_connect
        def _(client: Any) -> None:
            if self._panel is not None and self._panel.run is not None:
                look_from_middle(client, self._panel.run)

    def _add_download(self, label: str, made: Callable[[Path], tuple[str, bytes]]) -> None:
        button = self._server.gui.add_button(label)

        @button.on_click
        def _(event: Any) -> None:
            if event.client is not None and (run := self._workshop.removals.shown) is not None:
                event.client.send_file_download(*made(run), save_immediately=True)

    def _asked(self) -> tuple[str, ...]:
        """The settings of a removal as they stand on the page."""
        return "--effort", f"{self._effort.value:g}", "--seed", str(int(self._seed.value))

    def _remove_first(self) -> None:
        self._remove.disabled = True
        self._workshop.remove(*self._asked())

    def _candidate(self) -> Path | None:
        assert self._panel is not None
        return self._panel.candidates.get(self._base.value)

    def _remove_again(self, picture: Path | None) -> None:
        """Once more with a base view by hand. picture: what it is to look like, None: to be inpainted anew."""
        workshop = self._workshop
        assert workshop.scene is not None
        names = {file: name for name, file in view_files(workshop.scene.names).items()}
        filled = ("--in-n-out.base-seed", str(len(workshop.removals.folders)))
        if picture is not None:
            filled = ("--in-n-out.base-picture", str(picture))
        workshop.remove_again(*self._asked(), "--in-n-out.base-view", names[self._base.value], *filled)

    def _show_other(self) -> None:
        self._live.rows = ROWS if self._shown.value == AROUND else PHOTO_ROWS
        self._follow_pointer()
        self._live.changed()

    def _show_view(self) -> None:
        if self._workshop.scene is not None:
            self._name.content = plain(self._workshop.scene.names[self._view.value])
        self._live.changed()

    def _follow_pointer(self) -> None:
        """Take clicks or boxes as the tool wants them, none while the camera is to be moved."""
        scene = self._server.scene
        for registered in (scene.remove_click_callback, scene.remove_rect_select_callback):
            registered("all")
        if self._shown.value != PHOTO:
            return
        if self._tool.value == BOX:
            scene.on_rect_select()(lambda event: self._boxed(event))
        else:
            scene.on_click()(lambda event: self._clicked(event))

    def _clicked(self, event: Any) -> None:
        place = self._place(event.client, *event.screen_pos)
        if place is not None and all(0 <= share < 1 for share in place):
            self._workshop.click(self._view.value, *place, wanted=self._tool.value == OBJECT)

    def _boxed(self, event: Any) -> None:
        first, last = self._place(event.client, *event.screen_min), self._place(event.client, *event.screen_max)
        if first is None or last is None:
            return
        (left, top), (right, bottom) = np.clip([first, last], 0, 1).tolist()
        if right - left > LEAST_BOX and bottom - top > LEAST_BOX:
            self._workshop.box(self._view.value, left, top, right, bottom)

    def _place(self, client: Any, x: float, y: float) -> tuple[float, float] | None:
        if (scene := self._workshop.scene) is None:
            return None
        return in_photo(x, y, scene.cameras.width / scene.cameras.height, client.camera.aspect)

    # What is shown

    def _render(self, cameras: Cameras) -> torch.Tensor:
        scene, view = self._workshop.scene, int(self._view.value)
        if scene is None:
            return torch.full((cameras.height, cameras.width, 3), GROUND, dtype=torch.uint8)
        if self._shown.value == AROUND and self._panel is not None:
            return self._panel.render(cameras)
        if self._shown.value == CLEANED and self._panel is not None and self._panel.run is not None:
            cleaned = cleaned_photo(self._panel.run, scene.names[view])
            return torch.from_numpy(drawn(cleaned, {}, [], cameras.width, cameras.height))
        photo = scene.images[view].cpu().numpy()
        marks = self._workshop.clicks(view)
        return torch.from_numpy(drawn(photo, self._workshop.masks(view), marks, cameras.width, cameras.height))

    def refresh(self) -> None:
        """Show what the workshop has come to."""
        with self._lock:
            self._show_state()
            self._show_scene()
            self._show_object()
            self._show_removal()

    def _show_state(self) -> None:
        workshop = self._workshop
        doing, problem = workshop.doing, workshop.problem
        self._bar.visible = doing is not None
        if doing is not None:
            left = "" if doing.left is None else f", {duration_text(doing.left)} left"
            self._state.content = f"**{plain(doing.what)}**{left}"
            self._bar.value = 100 * doing.share
        elif problem is not None:
            self._state.content = f"⚠ {plain(problem)}"
        elif workshop.scene is not None:
            self._state.content = f"**{plain(workshop.scene.name)}**, {len(workshop.scene)} photos"
        self._notes.visible = bool(workshop.notes)
        self._noted.content = "\n\n".join(plain(note) for note in workshop.notes)

    def _show_scene(self) -> None:
        if (scene := self._workshop.scene) is None or self._view.visible:
            return
        self._view.max = len(scene) - 1
        self._view.value = len(scene) // 2
        self._view.visible = self._object.visible = self._removal.visible = True
        self._show_view()

    def _show_object(self) -> None:
        workshop = self._workshop
        self._undo.disabled, self._anew.disabled = not workshop.can_undo, workshop.pointing is None
        if workshop.waiting != self._waiting:
            self._waiting = workshop.waiting
            self._live.changed()
        if workshop.pointed is self._sheet_of:
            return
        self._sheet_of = workshop.pointed
        self._show_objects(workshop.pointed)
        pointing = workshop.pointing
        scales = 0 if pointing is None or pointing.selection is None else len(pointing.selection.scales)
        self._scales.visible = scales > 1
        if scales > 1 and pointing is not None and pointing.selection is not None:
            self._scales.options = tuple(str(number + 1) for number in range(scales))
            self._scales.value = str(pointing.selection.chosen + 1)
        self._live.changed()

    def _show_objects(self, pointed: Pointed) -> None:
        """Which objects there are, and all of them on the sheet."""
        names, told = tuple(pointed.objects), pointed.told
        self._help.visible = not told
        self._beside.disabled = not told
        self._which.visible = len(names) > 1
        if names != tuple(self._which.options):
            self._which.options = names
        if self._which.value != pointed.at:
            self._which.value = pointed.at
        session = self._workshop.session
        if not told or session is None:
            self._sheet.hide()
            return
        tinted = [
            overlay(torch.from_numpy(image), {name: torch.from_numpy(one.masks[view]) for name, one in told.items()})
            for view, image in enumerate(session.surfaces.images)
        ]
        self._sheet.show(side_by_side([picture.numpy() for picture in tinted], THUMBNAIL))

    def _show_removal(self) -> None:
        workshop = self._workshop
        removals, folder = workshop.removals, workshop.removals.shown
        busy = removals.is_running or workshop.doing is not None
        self._remove.disabled = not workshop.pointed.told or workshop.session is None or busy
        self._stop.visible = removals.is_running
        self._command.content = plain(removals.command_text or "")
        if folder is None:
            return
        if (self._panel is None or self._panel.folder != folder) and (folder / "config.json").is_file():
            if self._panel is not None:
                self._panel.remove()
            self._panel = RunPanel(
                self._server, folder, self._device, self._live.changed, news=self.refresh, order=self._help.order
            ).follow()
            self._shown.options = (PHOTO, CLEANED, AROUND)
        finished = self._panel is not None and self._panel.is_finished
        self._go_on.visible = self._panel is not None and not removals.is_running and not finished
        self._save.visible = finished
        self._show_candidates(busy)
        self._where.content = f"All of it is in {plain(str(folder))}."
        names = tuple(path.name for path in removals.folders)
        self._earlier.visible = len(names) > 1
        if names and names != tuple(self._earlier.options):
            self._earlier.options = names
        if folder.name in names and self._earlier.value != folder.name:
            self._earlier.value = folder.name

    def _show_candidates(self, busy: bool) -> None:
        candidates = tuple(self._panel.candidates) if self._panel is not None else ()
        self._another.visible = bool(candidates)
        for button in (self._take, self._anew_inside, self._own):
            button.disabled = busy
        if candidates and candidates != tuple(self._base.options):
            self._base.options = candidates


def zipped(folder: Path) -> bytes:
    """All files of a folder in a zip archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as content:  # photos do not get smaller
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            content.write(file, file.relative_to(folder))
    return archive.getvalue()
