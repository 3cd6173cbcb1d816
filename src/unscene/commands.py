"""What each command does with its options. The options are dataclasses; their docstrings are the help."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from tyro.conf import Positional

from unscene.doctor import examine
from unscene.export import write_points, write_video
from unscene.files import atomic_write
from unscene.geometry.cameras import orbit_path
from unscene.methods import InNOutConfig, NaiveConfig
from unscene.orbit_options import OrbitOptions
from unscene.orbit_pipeline import orbit
from unscene.pipeline import CustomizeOptions, FitOptions, RemoveOptions, customize, fit, remove
from unscene.priors.autoencoder_features import AutoencoderFeatures
from unscene.priors.choose import available_priors
from unscene.results import PATH_FRAMES, Run, Truth, evaluate, open_run, scene_truth
from unscene.scenes.image_files import image_size, list_images, read_image
from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene, SceneError
from unscene.scenes.still_life import still_life
from unscene.scenes.transforms import read_cameras
from unscene.screen import Screen
from unscene.training.fit import FitConfig
from unscene.training.run import RunError
from unscene.training_commands import shards, train


@dataclass(frozen=True)
class SceneSource:
    """Where photos, poses and masks come from."""

    scene: Positional[Path]
    """Folder with a COLMAP model, a transforms.json or poses_bounds.npy."""
    scale: float = 1
    """How many times smaller than the photos to work: 4 is a quarter of the width."""
    masks: Path | None = None
    """Folder of masks, white = remove; by default masks/, seg/ or label/ of the scene."""

    def load(self, holdout: int) -> Scene:
        return load_scene(self.scene, scale=self.scale, holdout=holdout, masks=self.masks)

    def record(self, holdout: int) -> dict[str, Any]:
        return {"scene": self.scene.resolve(), "scale": self.scale, "masks": self.masks, "holdout": holdout}


Source = Annotated[SceneSource, tyro.conf.arg(name="")]
Out = Path | None


def _fit(
    source: Source,
    out: Path,
    holdout: int = 8,
    seconds: float | None = 60,
    steps: int | None = None,
    resume: bool = False,
    options: Annotated[FitOptions, tyro.conf.arg(name="")] = FitOptions(),  # noqa: B008
) -> None:
    """Fit a radiance field to a captured scene and measure it on held-out views.

    Args:
        source: the scene.
        out: run folder to write.
        holdout: keep every so manieth view for testing, 0 none.
        seconds: time to learn; "None" with --steps.
        steps: steps to learn.
        resume: go on with an interrupted run.
        options: everything else.
    """
    scene = source.load(holdout)
    schedule = dataclasses.replace(options.fit, seconds=None if steps else seconds, steps=steps)
    options = dataclasses.replace(options, fit=schedule)
    with Screen() as screen:
        run = fit(scene, out, options, resume=resume, watch=screen, source=source.record(holdout))
    print(json.dumps(run.metrics, indent=2))


def _remove(
    source: Source,
    out: Path,
    holdout: int = 0,
    resume: bool = False,
    options: Annotated[RemoveOptions, tyro.conf.arg(name="")] = RemoveOptions(),  # noqa: B008
) -> None:
    """Take the masked object out of a captured scene: field, data set, video, points and report.

    Args:
        source: the scene.
        out: run folder to write.
        holdout: keep every so manieth view for testing, 0 none; a split in the files wins.
        resume: go on with an interrupted run.
        options: everything else.
    """
    scene = source.load(holdout)
    with Screen() as screen:
        run = remove(scene, out, options, resume=resume, watch=screen, source=source.record(holdout))
    print(json.dumps(run.metrics, indent=2))


# Four minutes on two cores. With fewer steps of reconstruction some seeds get the table's depth wrong.
DEMO = RemoveOptions(
    effort=0.45,
    video_frames=24,
    in_n_out=InNOutConfig(most_views=16, reconstruction=FitConfig(steps=1700, final_learning_rate=3e-3)),
    naive=NaiveConfig(fit=FitConfig(steps=2600)),  # as many steps in all
)


def _demo(
    out: Path = Path("runs/demo"),
    resume: bool = False,
    options: Annotated[RemoveOptions, tyro.conf.arg(name="")] = DEMO,
) -> None:
    """Take the teapot out of the bundled still life, and compare with the truth.

    Args:
        out: run folder to write.
        resume: go on with an interrupted run.
        options: everything else.
    """
    scene = still_life()
    with Screen() as screen:
        run = remove(
            scene, out, options, resume=resume, watch=screen, source={"scene": "still life"}, truth=scene_truth(scene)
        )
    print(json.dumps(run.metrics, indent=2))


def _render(run: Positional[Path], out: Path, cameras: str = "test") -> None:
    """Render a finished run.

    Args:
        run: run folder.
        out: folder for the PNGs, named like the test views, or in frame order.
        cameras: "test", "path" (an orbit), or a transforms.json whose frames need no images, in the scene's own world.
    """
    opened = open_run(run)
    with Screen() as screen:
        chosen = cameras if cameras in ("test", "path") else read_cameras(cameras)
        written = opened.render(chosen, out, screen)  # pyright: ignore[reportArgumentType]
    print(f"{len(written)} images in {out}")


def _export(run: Positional[Path], format: Literal["dataset", "ply", "video"], out: Out = None) -> None:
    """Write a run's results again, or somewhere else.

    Args:
        run: run folder.
        format: dataset: cleaned photos and transforms.json; ply: coloured points; video: an orbit as MP4.
        out: where to; by default dataset/, scene.ply or video.mp4 of the run.
    """
    opened = open_run(run)
    path = out or run / {"dataset": "dataset", "ply": "scene.ply", "video": "video.mp4"}[format]
    if format == "dataset":
        _copy_dataset(run / "dataset", path)
    else:
        with Screen() as screen:
            for event in _write(opened, format, path):
                screen(event)
    print(path)


def _write(run: Run, format: Literal["ply", "video"], path: Path):
    if format == "video":
        return write_video(path, run.field, orbit_path(run.cameras[run.train], PATH_FRAMES))
    generator = torch.Generator().manual_seed(0)
    return write_points(path, run.field, run.cameras[run.train], points=200_000, generator=generator)


def _copy_dataset(dataset: Path, out: Path) -> None:
    if not (dataset / "transforms.json").is_file():
        raise RunError(f"{dataset}: expected the cleaned data set of a finished `remove`, found none.")
    if out.resolve() == dataset.resolve():
        return
    if out.exists():
        raise RunError(f"{out}: expected a new folder for the data set, but it exists; choose another --out.")
    with atomic_write(out) as temporary:
        shutil.copytree(dataset, temporary)


def _evaluate(
    run: Positional[Path], truth: Path, json_only: Annotated[bool, tyro.conf.arg(name="json")] = False
) -> None:
    """Score a run against images of what is really there.

    Args:
        run: run folder.
        truth: folder of images named like the run's views, or of a scene with images/; masks/ beside them or in the run
            say where the object was.
        json_only: print JSON and nothing else.
    """
    features = AutoencoderFeatures()
    result = dataclasses.asdict(evaluate(open_run(run), _read_truth(truth, run), features)) | {
        "perceptual": features.name
    }
    print(json.dumps(result, indent=None if json_only else 2))


def _read_truth(folder: Path, run: Path) -> Truth:
    root = folder / "images" if (folder / "images").is_dir() else folder
    files = list_images(root) if root.is_dir() else []
    if not files:
        raise SceneError(f"{folder}: expected a folder of true images, found none; check --truth.")
    images, masks = {}, {}
    for file in files:
        pixels = _read(file)
        images[file.stem] = torch.from_numpy(pixels).float() / 255
    for file in _mask_files(folder, run):
        masks[file.stem] = torch.from_numpy(_read(file)).float().mean(-1) > 127
    return Truth(images, {stem: mask for stem, mask in masks.items() if stem in images})


def _mask_files(folder: Path, run: Path) -> list[Path]:
    for masks in (folder / "masks", run / "masks"):
        if masks.is_dir():
            return list_images(masks)
    return []


def _read(file: Path) -> np.ndarray:
    return read_image(file, file.name, image_size(file, file.name))


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


def run(command: str, arguments: list[str]) -> int:
    """Parse the arguments of a command and run it; returns the exit status."""
    if command in ("train", "shards"):
        (train if command == "train" else shards)(arguments)
        return 0
    functions = {
        "demo": _demo, "fit": _fit, "remove": _remove, "render": _render, "export": _export, "evaluate": _evaluate,
        "customize": _customize, "orbit": _orbit, "priors": _priors, "doctor": _doctor,
    }  # fmt: skip
    tyro.cli(functions[command], args=arguments, prog=f"unscene {command}", config=(tyro.conf.FlagCreatePairsOff,))
    return 0
