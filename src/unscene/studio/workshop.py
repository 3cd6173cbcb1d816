"""What the studio does, step by step and without a page: open, point, remove; every step can be undone.

It runs the same jobs as the commands do, and keeps all of it in one folder: ``scene/`` if photos had to be captured,
``masks/`` as `unscene mask` leaves them, and ``removals/1``, ``2``, ... as `unscene remove` does. Opened again on that
folder it goes on where it was.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unscene.capture.capture_error import CaptureError
from unscene.device import DeviceError, choose_device, field_device
from unscene.files import write_bytes
from unscene.jobs.mask import (
    choose_segmenter,
    draw_masks,
    forget_objects,
    hand_made,
    keep_object,
    open_masks,
    open_surfaces,
    read_objects,
    training_views,
)
from unscene.jobs.mask_options import MaskOptions
from unscene.jobs.running import drain
from unscene.priors.prior_error import PriorError
from unscene.scenes.image_formats import IMAGE_SUFFIXES
from unscene.scenes.load import NoCamerasError, load_partly_masked
from unscene.scenes.scene import Scene, SceneError
from unscene.segmentation.full_size import enlarged, shrunk
from unscene.segmentation.prompts import Box, Click, PromptError
from unscene.segmentation.session import Selection, Session
from unscene.studio.pointed import Pointed, Pointing
from unscene.studio.process import Command
from unscene.studio.progress import RunProgress
from unscene.studio.removals import Removals
from unscene.studio.studio_error import StudioError
from unscene.training.events import Event, ItemDone, Note, StageStarted, StepDone
from unscene.training.run import RunError, RunFolder

IN_WORDS = {
    "fit": "learns the shape of the scene",
    "depths": "measures its surfaces",
    "masks": "draws the masks",
}
CLOSING = 10.0  # seconds that a step has to end
LONGEST = 640  # pixels of the longer side of the photos, at most, if no scale is given
USER_ERRORS = (CaptureError, DeviceError, PriorError, PromptError, RunError, SceneError, StudioError)


class _ClosedError(Exception):
    """The workshop is closed: what is under way ends."""


@dataclass(frozen=True)
class Doing:
    """What is under way: in words, how much of it is done in [0, 1], and the seconds left, where that can be told."""

    what: str
    share: float = 0.0
    left: float | None = None


class Workshop:
    """A scene, what is to go, and its removals. `do` queues a step; `changed` is told whenever there is news."""

    def __init__(
        self, source: Path, out: Path, *, scale: float | None = None, masks: Path | None = None,
        options: MaskOptions = MaskOptions(), changed: Callable[[], None] = lambda: None,  # noqa: B008
    ):  # fmt: skip
        self.source, self.out, self.options = source, out, options
        self.scale, self.by_hand_folder = scale, masks
        self.changed = changed
        self.scene: Scene | None = None
        self.scene_path: Path = source
        self.session: Session | None = None
        self.doing: Doing | None = Doing("opens")
        self.problem: str | None = None
        self.notes: list[str] = []
        self.removals = Removals(out / "removals", lambda: self.changed(), self._failed)
        self._history = [Pointed(options.name, {options.name: None})]
        self._by_hand: tuple[int, ...] = ()
        self._folder: RunFolder | None = None
        self._steps: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._began = 0.0
        self._waiting: list[tuple[int, float, float, bool]] = []
        self._closing = self.was_cut_off = False
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    # What is

    @property
    def pointing(self) -> Pointing | None:
        """The object that clicks change, as far as it is told; None before that."""
        return self.pointed.current

    @property
    def pointed(self) -> Pointed:
        """All objects that were pointed at."""
        return self._history[-1]

    @property
    def waiting(self) -> int:
        """How many clicks wait for their turn."""
        return len(self._waiting)

    @property
    def can_undo(self) -> bool:
        return len(self._history) > 1 and not self.removals.is_running

    def masks(self, view: int) -> dict[str, np.ndarray]:
        """The objects in a photo as far as they are told, by their names, H W bool each at the scene's size."""
        if self.scene is None:
            return {}
        size = tuple(self.scene.images.shape[1:3])
        return {name: enlarged(one.masks[view], size) for name, one in self.pointed.told.items()}

    def clicks(self, view: int) -> list[tuple[float, float, bool]]:
        """Where the photo of a view was clicked: x and y as shares of its size, and whether the object is there.
        Those that wait for their turn are among them."""
        waiting = [(x, y, wanted) for number, x, y, wanted in self._waiting if number == view]
        if self.session is None or (pointing := self.pointing) is None or pointing.selection is None:
            return waiting
        cameras = self.session.surfaces.cameras
        points = [prompt for prompt in pointing.selection.prompts if prompt.view == view]
        taken = [(p.x / cameras.width, p.y / cameras.height, p.wanted) for p in points if isinstance(p, Click)]
        return [*taken, *waiting]

    # What can be done; each returns at once

    def open_scene(self) -> None:
        """Find the cameras of photos or a video, read the scene, fit the field whose depths are pointed at."""
        self.do(self._open)

    def click(self, view: int, x: float, y: float, *, wanted: bool = True) -> None:
        """Point at a place in a photo: x, y as shares of its width and height."""
        waiting = (view, x, y, wanted)
        self._waiting.append(waiting)
        self.changed()

        def point() -> None:
            try:
                self._point(lambda w, h: Click(view, x * w, y * h, wanted))
            finally:
                self._waiting.remove(waiting)

        self.do(point)

    def box(self, view: int, left: float, top: float, right: float, bottom: float) -> None:
        """Draw a box around the object, in shares of the photo's width and height. It starts anew."""
        self.do(lambda: self._point(lambda w, h: Box(view, left * w, top * h, right * w, bottom * h), anew=True))

    def choose(self, scale: int) -> None:
        """Take another of the things that the first click may have meant."""
        self.do(lambda: self._choose(scale))

    def another_object(self) -> None:
        """What is pointed at from now on is another object, to be removed beside those of before."""
        self.do(lambda: self._history.append(self.pointed.beside()))

    def turn_to(self, name: str) -> None:
        """Clicks change the object of that name again."""
        self.do(lambda: self._turn_to(name))

    def undo(self) -> None:
        """Back to before the last step."""
        if self.can_undo:
            self._history.pop()
            self.changed()

    def start_over(self) -> None:
        """Forget what was told of the object; undo brings it back."""
        self._step(None)

    def remove(self, *arguments: str) -> None:
        """Keep the masks and start `unscene remove` with further arguments, in a process of its own."""
        self.do(lambda: self._remove(arguments))

    def remove_again(self, *arguments: str) -> None:
        """As `remove`, with another base view: what does not depend on that is taken over from the removal shown."""
        if self.removals.shown is not None:
            self.remove(*arguments, "--start-from", str(self.removals.shown))

    def keep_picture(self, name: str, content: bytes) -> Path:
        """Keep a picture that the user brings; returns its file. Raises StudioError for what is none."""
        suffix = Path(name).suffix.lower()
        if suffix not in IMAGE_SUFFIXES:
            raise StudioError(f"expected a picture, got '{name}'; save it as PNG.")
        number = 1 + sum(1 for _ in (self.out / "pictures").glob("*"))
        file = self.out / "pictures" / f"{number}{suffix}"
        write_bytes(file, content)
        return file

    def go_on(self) -> None:
        """Take up the removal that was interrupted."""
        self.do(self.removals.go_on)

    def look_at(self, removal: Path | None) -> None:
        """Show a removal of before, or none."""
        self.removals.shown = removal
        self.changed()

    def close(self) -> None:
        """End what is under way, and wait for that."""
        self._closing, self.was_cut_off = True, self.removals.is_running
        self._steps.put(None)
        self.removals.stop()
        self._worker.join(CLOSING)

    def do(self, step: Callable[[], None]) -> None:
        """Queue a step; they are taken one after the other."""
        self._steps.put(step)

    def wait_idle(self) -> None:
        """Wait until all queued steps are taken."""
        self._steps.join()

    # How it is done, one step at a time

    def _work(self) -> None:
        while (step := self._steps.get()) is not None:
            self.problem = None
            try:
                step()
            except _ClosedError:
                return
            except USER_ERRORS as error:
                self.problem = str(error)
            except Exception as error:  # the page must say so: nobody reads the terminal
                self.problem = f"something went wrong: {type(error).__name__}: {error}"
            finally:
                self.doing = None
                self.changed()
                self._steps.task_done()

    def _say(self, what: str, share: float = 0.0, left: float | None = None) -> None:
        if self._closing:
            raise _ClosedError
        self.doing = Doing(what, share, left)
        self.changed()

    def _open(self) -> None:
        self._say("reads the scene")
        scene, by_hand = self._loaded()
        self.scene, self._by_hand = scene, by_hand
        self.removals.shown = next(reversed(self.removals.folders), None)
        source = {"scene": self.scene_path.resolve(), "scale": self.scale}
        self._folder, watch = open_masks(scene, self.out / "masks", self.options, source, self._told)
        segmenter, device = choose_segmenter(self.options), field_device(choose_device(self.options.device))
        opening = open_surfaces(scene.to(device), self.options, self._folder.checkpoints(self.options.seed))
        self.session = Session(drain(opening, watch), segmenter)
        if len(self._history) == 1:
            self._history[0] = self._kept_before(scene, self._folder)

    def _kept_before(self, scene: Scene, folder: RunFolder) -> Pointed:
        """The objects whose masks are in the folder already, and one whose masks were all made by hand."""
        kept = {name: masks.numpy() for name, masks in read_objects(folder, scene).items()}
        if len(self._by_hand) == len(scene):
            made = hand_made(scene, self._by_hand)
            kept.setdefault(self.options.name, np.stack([made[view] for view in range(len(scene))]))
        session, _ = self._opened()
        shape = session.surfaces.depth.shape[1:]
        objects = {
            name: Pointing(None, np.stack([shrunk(mask, shape) for mask in drawn]), drawn)
            for name, drawn in kept.items()
        }
        return Pointed(next(iter(objects), self.options.name), objects or {self.options.name: None})

    def _loaded(self) -> tuple[Scene, tuple[int, ...]]:
        """The scene at its scale, and the views that were masked by hand; photos or a video are captured first."""
        try:
            scene, by_hand = self._at(self.scale or 1)
        except NoCamerasError:
            self.scene_path = self.out / "scene"
            if not (self.scene_path / "transforms.json").is_file():
                self._capture(self.scene_path)
            scene, by_hand = self._at(self.scale or 1)
        if self.scale is None:
            self.scale = float(-(-max(scene.cameras.width, scene.cameras.height) // LONGEST))
            scene, by_hand = self._at(self.scale)
        return training_views(scene, by_hand)

    def _at(self, scale: float) -> tuple[Scene, tuple[int, ...]]:
        return load_partly_masked(self.scene_path, scale=scale, masks=self.by_hand_folder)

    def _capture(self, scene: Path) -> None:
        words = ("capture", str(self.source), "--out", str(scene), *(["--resume"] if scene.exists() else []))
        self._follow(Command.start(words, self.out / "capture.txt"), scene, "finds where the photos were taken")

    def _follow(self, command: Command, folder: Path, what: str) -> None:
        """Show how far a command is until it ends. Raises StudioError if it fails."""
        progress = RunProgress(folder)
        try:
            while command.status is None:
                progress.look()
                if stage := progress.stage:
                    self._say(f"{what}: {stage.name}", stage.share, stage.left)
                else:
                    self._say(what)
                time.sleep(0.5)
        except _ClosedError:
            command.stop()
            raise
        if command.status:
            raise StudioError(command.complaint)

    def _told(self, event: Event) -> None:
        """Show how far a job of this process is."""
        match event:
            case StageStarted(stage):
                self._began = time.monotonic()
                self._say(IN_WORDS.get(stage, stage))
            case StepDone(stage, _, share):
                self._tell_share(stage, share)
            case ItemDone(stage, done, total):
                self._tell_share(stage, done / total)
            case Note(text):
                self.notes.append(text)
            case _:
                pass

    def _tell_share(self, stage: str, share: float) -> None:
        spent = time.monotonic() - self._began
        self._say(IN_WORDS.get(stage, stage), share, spent * (1 - share) / share if share > 0 else None)

    def _point(self, prompt_of: Callable[[int, int], Click | Box], *, anew: bool = False) -> None:
        session, scene = self._opened()
        width, height = session.surfaces.cameras.width, session.surfaces.cameras.height
        prompt = prompt_of(width, height)
        before = None if anew else self.pointing
        if before is None or before.selection is None:
            self._say("looks at what is there")
            first = np.zeros((len(scene), height, width), bool)
            first[prompt.view] = session.glimpse(prompt)
            place, pointed = len(self._history), self.pointed
            self._step(Pointing(None, first))
            self._say("finds it in all photos", 0.3)
            try:
                selection = session.select(prompt, self._taught(session, scene))
            except PromptError:
                del self._history[place:]
                raise
            self._history[place:] = [pointed.telling(self._rough(selection))]
        else:
            self._say("changes the object")
            assert isinstance(prompt, Click)
            self._step(self._rough(session.edit(before.selection, prompt)))

    def _turn_to(self, name: str) -> None:
        if name in self.pointed.objects:
            self._history[-1] = self.pointed.at_name(name)  # changes nothing that undo could undo

    def _choose(self, scale: int) -> None:
        session, _ = self._opened()
        if (pointing := self.pointing) is None or pointing.selection is None:
            return
        self._step(self._rough(session.choose(pointing.selection, scale)))

    def _step(self, told: Pointing | None) -> None:
        """The object that clicks change becomes another; `undo` goes back to before."""
        self._history.append(self.pointed.telling(told))
        self.changed()

    def _rough(self, selection: Selection) -> Pointing:
        session, scene = self._opened()
        return Pointing(selection, session.rough_masks(selection, range(len(scene))))

    def _made(self, scene: Scene, name: str) -> dict[int, np.ndarray]:
        """Masks of an object that were made by hand, H W bool each: they are the first's."""
        return hand_made(scene, self._by_hand) if name == self.options.name else {}

    def _taught(self, session: Session, scene: Scene) -> dict[int, np.ndarray]:
        shape, made = session.surfaces.depth.shape[1:], self._made(scene, self.pointed.at)
        return {view: shrunk(mask, shape) for view, mask in made.items()}

    def _opened(self) -> tuple[Session, Scene]:
        if self.session is None or self.scene is None:
            raise StudioError("expected a scene that is open; see what kept it from opening.")
        return self.session, self.scene

    def _keep_masks(self) -> None:
        """Masks of all that was pointed at, at full size, as `unscene mask` writes them."""
        session, scene = self._opened()
        if not (told := self.pointed.told):
            raise StudioError("expected an object to remove; click it in a photo.")
        assert self._folder is not None
        for name, pointing in told.items():
            selection, made = pointing.selection, self._made(scene, name)
            if selection is None:
                masks = pointing.drawn
            else:
                drawing = draw_masks(session, scene, selection, made, with_shadow=self.options.with_shadow)
                masks = drain(drawing, self._told)
            assert masks is not None
            prompts = [] if selection is None else [dataclasses.asdict(prompt) for prompt in selection.prompts]
            content = {"prompts": prompts, "by_hand": [scene.names[view] for view in made]}
            keep_object(self._folder, scene, name, masks, content, session.segmenter.name)
        forget_objects(self._folder, scene, set(read_objects(self._folder, scene)) - set(told))

    def _remove(self, arguments: tuple[str, ...]) -> None:
        self.removals.check_idle()
        self._say("draws the masks")
        self._keep_masks()
        self.removals.start(self.scene_path, self.scale or 1, self.out / "masks", arguments)

    def _failed(self, complaint: str) -> None:
        self.problem = complaint
