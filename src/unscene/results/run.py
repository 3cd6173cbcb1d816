"""What a run left, opened again, and rendered from any camera."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from unscene.device import choose_device, field_device
from unscene.fields.field import render_view
from unscene.fields.hash_grid import HashGridConfig
from unscene.fields.nerf import Nerf, NerfConfig
from unscene.fields.splats import Splats
from unscene.file_names import view_files
from unscene.files import atomic_write, to_uint8, write_json
from unscene.geometry.cameras import Cameras, orbit_path
from unscene.geometry.gaussians import Gaussians
from unscene.scenes.scene import NO_ORIGIN, Scene
from unscene.scenes.transforms import read_cameras, write_frames
from unscene.splat_files.formats import read_splats, write_splats
from unscene.splat_files.splat_file import SplatFile
from unscene.training.events import ItemDone, StageDone, StageStarted, Watch, ignore
from unscene.training.run import RunError, RunFolder

PATH_FRAMES = 72
FITTED = "model."  # before the names of a field's tensors in a checkpoint of `fit`
KEPT = "kept_count"  # of Gaussians in a checkpoint: how many there are besides
SPLATS = "splats.ply"  # the field of a run that fitted Gaussians, in the scene's coordinates
WRITING_THREADS = 4


@dataclass(frozen=True)
class Run:
    """A finished run: the field, the cameras of the input scene in its own order, and the run's folder.

    Field and cameras are in the scene's coordinates: the world of the input files less ``origin`` (3 float64).
    """

    folder: Path
    field: Nerf | Splats
    cameras: Cameras
    names: tuple[str, ...]
    train: Tensor
    test: Tensor
    origin: Tensor = NO_ORIGIN

    @property
    def view_files(self) -> dict[str, str]:
        """What files about each view are called, by the names of their photos."""
        return view_files(self.names)

    @property
    def metrics(self) -> dict[str, Any]:
        """metrics.json as it stands."""
        path = self.folder / "metrics.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def render(self, cameras: Cameras | Literal["test", "path"], out: Path | str, watch: Watch = ignore) -> list[Path]:
        """Render PNGs into ``out``: the test views, an orbit, or any cameras in the scene's coordinates, as
        `read_cameras` gives them with the run's origin."""
        out, stage = Path(out), "render"
        if isinstance(cameras, Cameras):
            cameras = cameras.to(self.cameras.focal.device)
            names = [f"{i:05d}" for i in range(len(cameras))]
        elif cameras == "path":
            cameras = orbit_path(self.cameras[self.train], PATH_FRAMES)
            names = [f"{i:05d}" for i in range(len(cameras))]
        else:
            views = self.test if len(self.test) else self.train
            cameras, names = self.cameras[views], [self.view_files[self.names[v]] for v in views.tolist()]
        watch(StageStarted(stage))
        started, written = time.monotonic(), []
        with ThreadPoolExecutor(WRITING_THREADS) as threads:  # a PNG takes as long as its render
            for index, name in enumerate(names):
                image = to_uint8(render_view(self.field, cameras, index).color)
                written.append(threads.submit(RunFolder(out).write_image, f"{name}.png", image))
                watch(ItemDone(stage, index + 1, len(names)))
        watch(StageDone(stage, time.monotonic() - started))
        return [file.result() for file in written]


def keep_run(folder: RunFolder, field: Nerf | Splats, scene: Scene) -> Run:
    """Write the field and the scene's cameras into the run: what `open_run` needs."""
    keep_cameras(folder, scene)
    if isinstance(field, Splats):
        write_splats(folder.path / SPLATS, SplatFile(field.used.to("cpu")))
    else:
        write_json(folder.path / "field.json", dataclasses.asdict(field.config))
        with atomic_write(folder.path / "field.safetensors") as temporary:
            save_file({k: v.cpu().contiguous() for k, v in field.state_dict().items()}, temporary)
    return Run(folder.path, field, scene.cameras, scene.names, scene.train, scene.test, scene.origin)


def keep_cameras(folder: RunFolder, scene: Scene) -> None:
    """Write the scene's cameras into the run, so that it can be looked at while it goes on."""
    write_frames(folder.path / "cameras.json", scene, list(scene.names))


def open_run(folder: Path | str, device: torch.device | str = "auto") -> Run:
    """Open a finished run on a device, by default CUDA where it works, else the processor. Raises RunError if the
    folder is not one, or not finished, and DeviceError for a device that is not there."""
    device = field_device(choose_device(str(device)))
    run = RunFolder.open(Path(folder))
    weights = run.path / "field.safetensors"
    if not is_finished(run.path) or not (run.path / "cameras.json").is_file():
        raise RunError(f"{folder}: expected a finished run, but it has no field yet; finish it with --resume.")
    if (run.path / SPLATS).is_file():
        gaussians = read_splats(run.path / SPLATS).gaussians
        return _opened(run, lambda cameras: Splats.around(cameras, gaussians), device)
    config = json.loads((run.path / "field.json").read_text(encoding="utf-8"))
    return _opened(run, lambda cameras: _nerf(load_file(weights), config), device)


def is_finished(folder: Path) -> bool:
    """Whether a run's folder has its field."""
    return (folder / "field.safetensors").is_file() or (folder / SPLATS).is_file()


def open_under_way(folder: Path | str, device: torch.device | str = "auto") -> Run | None:
    """A run as its newest checkpoint of a field has it, or as it is if it is finished; None before there is one."""
    run, device = RunFolder.open(Path(folder)), field_device(choose_device(str(device)))
    if is_finished(run.path):
        return open_run(folder, device)
    if not (run.path / "cameras.json").is_file() or (config := _recorded_field(run.config)) is None:
        return None
    files = sorted((run.path / "checkpoint").glob("*.safetensors"), key=lambda file: -file.stat().st_mtime)
    for file in files:
        with contextlib.suppress(OSError, SafetensorError), safe_open(file, framework="pt") as saved:
            names = [name for name in saved.keys() if name.startswith(FITTED)]  # noqa: SIM118
            if FITTED + "center" in names:
                tensors = {name.removeprefix(FITTED): saved.get_tensor(name).clone() for name in names}
                if tensors.get(KEPT, torch.tensor(0)) > 0:
                    continue  # Gaussians that fill a hole, without the rest
                make = _splats if "means" in tensors else functools.partial(_nerf, config=config)
                return _opened(run, lambda _, make=make, tensors=tensors: make(tensors), device)
    return None


def _opened(run: RunFolder, field: Callable[[Cameras], Nerf | Splats], device: torch.device) -> Run:
    """A run with the field that is made for its training cameras."""
    frames = run.path / "cameras.json"
    listed = json.loads(frames.read_text(encoding="utf-8"))
    names = tuple(frame["file_path"] for frame in listed["frames"])
    order = {frame["file_path"]: i for i, frame in enumerate(listed["frames"])}
    train, test = (
        torch.tensor([order[n] for n in listed[f"{s}_filenames"]], dtype=torch.long) for s in ("train", "test")
    )
    origin = torch.tensor(listed.get("scene_origin", [0, 0, 0]), dtype=torch.float64)
    cameras = read_cameras(frames, origin)
    made = field(cameras[train if len(train) else test])
    return Run(run.path, made.to(device), cameras.to(device), names, train, test, origin)


def _nerf(tensors: dict[str, Tensor], config: dict[str, Any]) -> Nerf:
    nerf = Nerf(
        _nerf_config(config),
        center=tensors["center"].clone(), radius=tensors["radius"].clone(), generator=torch.Generator(),
    )  # fmt: skip
    nerf.confine(tensors.get("occupancy"))
    nerf.load_state_dict(tensors)
    return nerf


def _splats(tensors: dict[str, Tensor]) -> Splats:
    gaussians = Gaussians(
        tensors["means"], tensors["log_scales"], tensors["quaternions"], tensors["opacity_logits"],
        torch.cat([tensors["base"], tensors["further"]], 1),
    )  # fmt: skip
    return Splats(gaussians, center=tensors["center"], radius=tensors["radius"])


def _recorded_field(record: dict[str, Any]) -> dict[str, Any] | None:
    """The field's settings among those that a run began with, where its job fits one."""
    options = record.get("options", {})
    settings = options.get(str(options.get("method", "")).replace("-", "_"), options)
    return settings.get("nerf")


def _nerf_config(values: dict[str, Any]) -> NerfConfig:
    saved_before = {"hashing": "xor"}  # fields fitted before there was a choice do not tell
    grids: dict[str, Any] = {key: HashGridConfig(**saved_before | values[key]) for key in ("grid", "proposal_grid")}
    return NerfConfig(**(values | grids))
