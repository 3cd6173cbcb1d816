"""What each command does with its options. The options are dataclasses; their docstrings are the help."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro
from tyro.conf import Positional

from unscene.doctor import examine
from unscene.jobs.capture import CaptureOptions, capture_scene
from unscene.jobs.customize import CustomizeOptions, customize
from unscene.jobs.evaluate import EvaluateOptions, as_record, as_text, measure
from unscene.jobs.export import Format, export
from unscene.jobs.fit import FitOptions, fit
from unscene.jobs.given_splat import GivenSplat, open_splat
from unscene.jobs.mask import CONTACT_SHEET, mask
from unscene.jobs.mask_options import MaskOptions
from unscene.jobs.orbit import orbit
from unscene.jobs.orbit_options import OrbitMethod, OrbitOptions
from unscene.jobs.presets import orbit_preset, removal_preset
from unscene.jobs.remove import remove
from unscene.jobs.remove_options import MethodName, RemoveOptions
from unscene.methods import InfusionConfig, InNOutConfig, Inpaint3dConfig, NaiveConfig, NerfillerConfig
from unscene.priors.choose import available_priors
from unscene.ranges import check_ranges
from unscene.results.run import open_run
from unscene.results.truth import read_truth, scene_truth
from unscene.scenes.capture import NoPhotosError
from unscene.scenes.load import NoCamerasError, load_partly_masked, load_scene
from unscene.scenes.posed_masks import load_posed_masks
from unscene.scenes.room import room
from unscene.scenes.scene import Scene, SceneError
from unscene.scenes.still_life import still_life
from unscene.scenes.transforms import read_cameras
from unscene.screen import Screen
from unscene.splat_files.splat_file import Announce
from unscene.training.events import Note
from unscene.training.fit import FitConfig
from unscene.training_commands import shards, train


@dataclass(frozen=True)
class SceneSource:
    """Where photos, poses and masks come from."""

    scene: Positional[Path]
    """Folder of a capture in a layout of docs/captures.md, or its .json, .csv (RealityCapture) or .xml (Metashape)."""
    scale: float = 1
    """How many times smaller than the photos to work: 4 is a quarter of the width."""
    masks: Path | None = None
    """Folder of masks, white = remove; by default masks/, seg/ or label/ of the scene, or masks beside the photos."""
    mask_label: int | None = None
    """Of masks that number their objects (1, 2, ...), which one to remove; by default all but 0."""

    def load(self, holdout: int) -> Scene:
        return load_scene(
            self.scene, scale=self.scale, holdout=holdout, masks=self.masks, mask_label=self.mask_label
        )  # fmt: skip

    def record(self, holdout: int) -> dict[str, Any]:
        record = {"scene": self.scene.resolve(), "scale": self.scale, "masks": self.masks, "holdout": holdout}
        return record if self.mask_label is None else record | {"mask_label": self.mask_label}


@dataclass(frozen=True)
class RemovalSource:
    """Where photos, poses and masks come from, or a splat, poses and masks."""

    scene: Positional[Path | None] = None
    """Folder of a capture in a layout of docs/captures.md, or its .json, .csv (RealityCapture) or .xml (Metashape)."""
    splat: Path | None = None
    """A file of Gaussian splats of the scene (.ply, .splat, .spz, .sog) to take the object out of; it needs no photos:
    poses and masks are enough."""
    cameras: Path | None = None
    """In place of the scene, with --splat and --masks: the cameras.json that 3DGS writes, or a transforms.json."""
    scale: float = 1
    """How many times smaller than the photos to work: 4 is a quarter of the width."""
    masks: Path | None = None
    """Folder of masks, white = remove; by default masks/, seg/ or label/ of the scene, or masks beside the photos."""
    mask_label: int | None = None
    """Of masks that number their objects (1, 2, ...), which one to remove; by default all but 0."""

    def load(self, holdout: int, announce: Announce) -> tuple[Scene, GivenSplat | None]:
        """The scene, and the splat if one is given. Raises SceneError and SplatError."""
        place = self.scene or self.cameras
        if place is None or (self.scene is not None and self.cameras is not None):
            raise SceneError(
                "expected either a scene or --cameras FILE with --splat FILE, got " + ("both." if place else "none.")
            )
        if self.cameras is not None and self.splat is None:
            raise SceneError("--cameras: expected --splat FILE with it, whose renders are the photos; add it.")
        scene, has_photos = self._load_scene(place, holdout)
        if self.splat is None:
            return scene, None
        return scene, open_splat(self.splat, has_photos=has_photos, announce=announce)

    def _load_scene(self, place: Path, holdout: int) -> tuple[Scene, bool]:
        """The scene, and whether it has photos."""
        how: dict[str, Any] = {"scale": self.scale, "masks": self.masks, "mask_label": self.mask_label}
        if self.cameras is not None:
            return load_posed_masks(place, **how), False
        try:
            return load_scene(place, holdout=holdout, **how), True
        except (NoPhotosError, NoCamerasError):
            if self.splat is None:
                raise
            return load_posed_masks(place, **how), False

    def record(self, holdout: int) -> dict[str, Any]:
        place = (self.scene or self.cameras or Path()).resolve()
        record = {"scene": place, "scale": self.scale, "masks": self.masks, "holdout": holdout}
        record |= {} if self.splat is None else {"splat": self.splat.resolve()}
        return record if self.mask_label is None else record | {"mask_label": self.mask_label}


Source = Annotated[SceneSource, tyro.conf.arg(name="")]
Out = Path | None


def _capture(
    photos: Positional[Path],
    out: Path,
    resume: bool = False,
    options: Annotated[CaptureOptions, tyro.conf.arg(name="")] = CaptureOptions(),  # noqa: B008
) -> None:
    """Make a scene of photos or a video: poses, undistorted photos, sparse points and a report.

    Args:
        photos: folder of photos, or a video file.
        out: scene folder to write, which remove, fit, nerfstudio and gsplat read.
        resume: go on with an interrupted run.
        options: everything else.
    """
    with Screen() as screen:
        scene = capture_scene(photos, out, options, resume=resume, watch=screen)
    print(scene.folder)


def _fit(
    source: Source,
    out: Path,
    holdout: int = 8,
    seconds: float | None = None,
    steps: int | None = None,
    resume: bool = False,
    options: Annotated[FitOptions, tyro.conf.arg(name="")] = FitOptions(),  # noqa: B008
) -> None:
    """Fit a radiance field, or Gaussian splats, to a captured scene and measure it on held-out views.

    Args:
        source: the scene.
        out: run folder to write.
        holdout: keep every so manieth view for testing, 0 none.
        seconds: time to learn; 60 if neither this nor --steps is given.
        steps: steps to learn.
        resume: go on with an interrupted run.
        options: everything else.
    """
    scene = source.load(holdout)
    if steps is not None or seconds is not None:
        options = dataclasses.replace(options, fit=dataclasses.replace(options.fit, seconds=seconds, steps=steps))
    with Screen() as screen:
        run = fit(scene, out, options, resume=resume, watch=screen, source=source.record(holdout))
    print(json.dumps(run.metrics, indent=2))


def _mask(
    scene: Positional[Path],
    out: Path,
    scale: float = 1,
    masks: Path | None = None,
    options: Annotated[MaskOptions, tyro.conf.arg(name="")] = MaskOptions(),  # noqa: B008
) -> None:
    """Mask an object in all photos of a capture from a few clicks; `unscene remove SCENE --masks OUT` takes it out.

    The field behind it is fitted once and kept in OUT: other clicks, and other objects by --name, take seconds.

    Args:
        scene: folder of a capture in a layout of docs/captures.md, or its .json, .csv or .xml.
        out: folder to write, for all objects of the scene.
        scale: how many times smaller than the photos to work: 4 is a quarter of the width.
        masks: folder of masks made by hand for some of the photos: they are kept as they are and teach the rest.
        options: everything else.
    """
    loaded, by_hand = load_partly_masked(scene, scale=scale, masks=masks)
    record = {"scene": scene.resolve(), "scale": scale}
    with Screen() as screen:
        made = mask(loaded, out, options, by_hand=by_hand, scale=scale, watch=screen, source=record)
    print(made.folder / CONTACT_SHEET)


def _remove(
    source: Annotated[RemovalSource, tyro.conf.arg(name="")],
    out: Path,
    holdout: int = 0,
    resume: bool = False,
    start_from: Path | None = None,
    options: Annotated[RemoveOptions, tyro.conf.arg(name="")] = RemoveOptions(),  # noqa: B008
) -> None:
    """Take the masked object out of a captured scene: field, data set, video, points and report.

    Args:
        source: the scene.
        out: run folder to write.
        holdout: keep every so manieth view for testing, 0 none; a split in the files wins.
        resume: go on with an interrupted run.
        start_from: another run of the scene, whose reconstruction is taken over; what comes after is made anew.
        options: everything else.
    """
    with Screen() as screen:
        scene, splat = source.load(holdout, lambda text: screen(Note(text)))
        run = remove(
            scene, out, options, resume=resume, start_from=start_from, watch=screen, source=source.record(holdout),
            splat=splat,
        )  # fmt: skip
    print(json.dumps(run.metrics, indent=2))


# A minute and a half on two cores. With fewer steps of reconstruction some seeds get the table's depth wrong.
DEMO_RECONSTRUCTION = FitConfig(steps=1700, final_learning_rate=3e-3)
DEMO = RemoveOptions(
    effort=0.45,
    video_frames=24,
    in_n_out=InNOutConfig(most_views=16, reconstruction=DEMO_RECONSTRUCTION),
    infusion=InfusionConfig(reconstruction=DEMO_RECONSTRUCTION),
    inpaint3d=Inpaint3dConfig(reconstruction=DEMO_RECONSTRUCTION),
    naive=NaiveConfig(fit=FitConfig(steps=2600)),  # as many steps in all
    nerfiller=NerfillerConfig(
        reconstruction=DEMO_RECONSTRUCTION,
        training=FitConfig(steps=1000, learning_rate=7e-3, final_learning_rate=1e-3),
    ),
)


def _demo(
    out: Path = Path("runs/demo"),
    scene: Literal["still-life", "room"] = "still-life",
    every: int = 1,
    resume: bool = False,
    options: Annotated[RemoveOptions, tyro.conf.arg(name="")] = DEMO,
) -> None:
    """Take the teapot out of the bundled still life, or the rocking horse out of the room, and compare with the truth.

    Args:
        out: run folder to write.
        scene: still-life: 40 photos from the front of a table; room: 36 from all around, no single plane behind.
        every: take each EVERY-th photo only: 3 is 12 photos of the room.
        resume: go on with an interrupted run.
        options: everything else.
    """
    whole = {"still-life": still_life, "room": room}[scene]()
    check_ranges({"every": (every, 1, len(whole.train))}, SceneError)
    chosen = whole.thinned(every)
    source = {"scene": scene.replace("-", " ")} | ({"every": every} if every > 1 else {})
    with Screen() as screen:
        run = remove(chosen, out, options, resume=resume, watch=screen, source=source, truth=scene_truth(chosen))
    print(json.dumps(run.metrics, indent=2))


def _render(run: Positional[Path], out: Path, cameras: str = "test", device: str = "auto") -> None:
    """Render a finished run.

    Args:
        run: run folder.
        out: folder for the PNGs, named like the test views, or in frame order.
        cameras: "test", "path" (an orbit), or a transforms.json whose frames need no images, in the scene's own world.
        device: where to compute: auto (CUDA where it works, else the processor), cpu, cuda or cuda:N.
    """
    opened = open_run(run, device)
    with Screen() as screen:
        chosen = cameras if cameras in ("test", "path") else read_cameras(cameras, opened.origin)
        written = opened.render(chosen, out, screen)  # pyright: ignore[reportArgumentType]
    print(f"{len(written)} images in {out}")


def _export(run: Positional[Path], format: Format, out: Out = None, device: str = "auto") -> None:
    """Write a run's results again, or somewhere else.

    Args:
        run: run folder.
        format: dataset: cleaned photos and transforms.json; ply: coloured points; video: an orbit as MP4;
            splats, splat, spz: Gaussian splats as 3DGS PLY, .splat or .spz, of a radiance field distilled first.
        out: where to; by default dataset/, scene.ply, video.mp4, splats.ply, scene.splat or scene.spz of the run.
        device: where to compute: auto (CUDA where it works, else the processor), cpu, cuda or cuda:N.
    """
    with Screen() as screen:
        print(export(open_run(run, device), format, out, watch=screen))


def _evaluate(
    run: Positional[Path],
    truth: Path | None = None,
    options: Annotated[EvaluateOptions, tyro.conf.arg(name="")] = EvaluateOptions(),  # noqa: B008
    device: str = "auto",
    json_only: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Score a run by the papers' metrics, against images of what is really there, or without them.

    Args:
        run: run folder.
        truth: folder of images named like the run's views, or of a scene with images/; masks/ beside them or in the run
            say where the object was. Of a SPIn-NeRF folder the photos that test_label/ lists count, no others.
        options: everything else.
        device: where to compute: auto (CUDA where it works, else the processor), cpu, cuda or cuda:N.
        json_only: print JSON and nothing else.
    """
    opened = open_run(run, device)
    figures = measure(opened, None if truth is None else read_truth(truth, run), options)
    print(json.dumps(as_record(figures)) if json_only else as_text(figures))


def _customize(
    source: Source,
    out: Path,
    holdout: int = 0,
    resume: bool = False,
    options: Annotated[CustomizeOptions, tyro.conf.arg(name="")] = CustomizeOptions(),  # noqa: B008
) -> None:
    """Teach a diffusion prior a scene: LoRA and a scene token, for `--diffusion.customization OUT` and for diffusers.

    Args:
        source: the scene; nothing is learnt inside its masks.
        out: folder to write.
        holdout: keep every so manieth view out, 0 none.
        resume: go on with an interrupted run.
        options: everything else.
    """
    scene = source.load(holdout)
    with Screen() as screen:
        folder = customize(scene, out, options, resume=resume, watch=screen, source=source.record(holdout))
    print(folder)


def _priors() -> None:
    """List what can fill images on this machine, and why the rest cannot."""
    rows = list(available_priors())
    width = max(len(row.name) for row in rows)
    for row in rows:
        print(f"{'yes' if row.usable else 'no ':<4}{row.name:<{width}}  {row.remark}")


def _doctor() -> None:
    """Report devices, memory, versions and caches."""
    for name, finding in examine():
        print(f"{name:<30}{finding}")


def _orbit(
    photo: Positional[Path],
    out: Path,
    resume: bool = False,
    options: Annotated[OrbitOptions, tyro.conf.arg(name="")] = OrbitOptions(),  # noqa: B008
) -> None:
    """See the object of one photo from all around, or from given poses: images, grid, video and report.

    Args:
        photo: the photo, or "example" for the mug that travels with the package.
        out: run folder to write.
        resume: go on with an interrupted run.
        options: everything else.
    """
    with Screen() as screen:
        made = orbit(photo, out, options, resume=resume, watch=screen)
    print(made.folder / ("orbit.mp4" if not options.pose else "views"))


def _paper(command: str, arguments: list[str]) -> RemoveOptions | OrbitOptions | None:
    """What --preset paper sets for the --method among the arguments; else None, as where tyro will have to complain."""
    default, preset, methods = {
        "orbit": (OrbitOptions.method, orbit_preset, get_args(OrbitMethod)),
        "remove": (RemoveOptions.method, removal_preset, get_args(MethodName)),
        "demo": (RemoveOptions.method, removal_preset, get_args(MethodName)),
    }[command]
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset")
    parser.add_argument("--method", default=default)
    try:
        asked, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError:
        return None
    return preset("paper", asked.method) if asked.preset == "paper" and asked.method in methods else None


def run(command: str, arguments: list[str]) -> int:
    """Parse the arguments of a command and run it; returns the exit status."""
    if command in ("train", "shards"):
        (train if command == "train" else shards)(arguments)
        return 0
    functions = {
        "demo": _demo, "capture": _capture, "mask": _mask, "fit": _fit, "remove": _remove, "render": _render,
        "export": _export, "evaluate": _evaluate, "customize": _customize, "orbit": _orbit, "priors": _priors,
        "doctor": _doctor,
    }  # fmt: skip
    function = functions[command]
    if command in ("remove", "demo", "orbit") and (options := _paper(command, arguments)):
        function = functools.partial(function, options=options)
    tyro.cli(function, args=arguments, prog=f"unscene {command}", config=(tyro.conf.FlagCreatePairsOff,))
    return 0
