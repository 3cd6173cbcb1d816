"""Fitting a radiance field to a scene, from photos to figures."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from unscene.device import choose_device, field_device
from unscene.evaluation.score import score
from unscene.fields.field import render_view
from unscene.fields.nerf import Nerf, NerfConfig
from unscene.fields.pose_refinement import PoseRefinement
from unscene.file_names import view_files
from unscene.files import write_json
from unscene.geometry.cameras import Cameras
from unscene.jobs.running import SMALLER_SCALE, device_facts, drain, start
from unscene.memory import peak_memory_gb
from unscene.ranges import check_ranges
from unscene.results.run import Run, keep_run
from unscene.scenes.scene import Scene
from unscene.stages.splat_reconstruction import SplatConfig, fit_splats
from unscene.training.events import Event, Note, StepDone, Watch, ignore
from unscene.training.fit import FitConfig
from unscene.training.fit import fit as fit_field
from unscene.training.photo_depths import depth_term_of_few
from unscene.training.pixels import PixelReconstruction, PixelSampler, RegularizerConfig, training_pixels
from unscene.training.run import RunError, RunFolder


@dataclass(frozen=True)
class FitOptions:
    """Fit a field to all of a scene."""

    field: Literal["nerf", "splats"] = "nerf"
    """What to fit: a radiance field, or Gaussian splats that begin at a short radiance field's depths."""
    splats: SplatConfig = dataclasses.field(default_factory=SplatConfig)
    """The splats."""
    nerf: NerfConfig = dataclasses.field(default_factory=NerfConfig)
    """The radiance field."""
    fit: FitConfig = dataclasses.field(default_factory=lambda: FitConfig(seconds=60, learning_rate=2e-2))
    """How long and how fast to learn; splats have step sizes of their own."""
    regularizer: RegularizerConfig = dataclasses.field(default_factory=RegularizerConfig)
    """Weights of the histogram losses."""
    rays: int = 2304
    """Rays per step."""
    refine_poses: bool = False
    """Correct the camera poses while fitting; the run keeps them as they are then."""
    seed: int = 0
    """Of all random numbers."""
    device: str = "auto"
    """Where to compute: auto (CUDA where it works, else the processor), cpu, cuda, cuda:N or mps."""


def fit(scene: Scene, out: Path | str, options: FitOptions = FitOptions(), *, resume: bool = False,
        watch: Watch = ignore, source: dict[str, Any] | None = None) -> Run:  # fmt: skip
    """Fit a field to a scene as it is, masks or not, and measure it on the held-out views."""
    check_ranges(_ranges(options), RunError)
    if options.field == "splats" and options.refine_poses:
        raise RunError("--refine-poses: expected a radiance field; fit one first, or leave it out with --field splats.")
    record = {"job": "fit", "scene": scene.name, "source": source or {}, "options": options}
    device = choose_device(options.device)
    folder, watch = start(Path(out), record, scene, device, resume=resume, watch=watch)
    scene = scene.to(field_device(device))
    checkpoints, meter = folder.checkpoints(options.seed), _RayMeter(watch)
    if options.field == "splats":
        made = fit_splats(scene, options.splats, options.nerf, options.fit, options.regularizer, checkpoints)
        splats = drain(made, meter, ways=["start anew with a smaller --splats.most", SMALLER_SCALE])
        return _measured(keep_run(folder, splats, scene), scene, meter, device)
    nerf = Nerf.around(scene.cameras[scene.train], options.nerf, checkpoints.generator("field"))
    pixels = PixelSampler(scene, training_pixels(scene))
    poses = PoseRefinement(len(scene), float(nerf.radius)).to(scene.device) if options.refine_poses else None
    told = drain(depth_term_of_few(scene.with_masks(None), checkpoints), meter)
    objective = PixelReconstruction(
        nerf, scene.cameras, pixels, options.regularizer, rays=options.rays, poses=poses, depth_term=told
    )
    learnt = torch.nn.ModuleList([nerf, *([poses] if poses else [])])
    native = nerf.is_native and poses is None
    fitting = fit_field("fit", learnt, objective, options.fit, checkpoints, rays_per_step=options.rays, native=native)
    drain(fitting, meter, ways=["start anew with fewer --rays", SMALLER_SCALE])
    if poses is not None:
        scene, before = replace(scene, cameras=poses.refined(scene.cameras)), scene.cameras
        watch(Note(_how_far(before, scene.cameras, scene.train)))
    return _measured(keep_run(folder, nerf, scene), scene, meter, device)


def _ranges(options: FitOptions) -> dict[str, tuple[float, float, float]]:
    """Settings of splats with the least and the most that they may be."""
    splats = options.splats
    return {
        "splats.count": (splats.count, 1, 100_000_000),
        "splats.most": (splats.most, 1, 100_000_000),
        "splats.degree": (splats.degree, 0, 3),
        "splats.depth-share": (splats.depth_share, 0.01, 0.99),
    }


def _measured(run: Run, scene: Scene, meter: _RayMeter, device: torch.device) -> Run:
    """The run with its metrics written."""
    speed = meter.median() or run.metrics.get("rays_per_second")  # a run resumed at its end takes no steps
    metrics: dict[str, Any] = {"rays_per_second": speed}
    if len(scene.test):
        metrics |= _measure_held_out(run, scene, meter.watch)
    write_json(
        run.folder / "metrics.json", metrics | {"peak_memory_gb": round(peak_memory_gb(), 3)} | device_facts(device)
    )
    return run


class _RayMeter:
    """Passes events on and remembers the speeds they report."""

    def __init__(self, watch: Watch):
        self.watch, self.speeds = watch, []

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepDone):
            self.speeds.append(event.rays_per_second)
        self.watch(event)

    def median(self) -> float | None:
        return round(float(torch.tensor(self.speeds).median())) if self.speeds else None


def _how_far(before: Cameras, after: Cameras, views: Tensor) -> str:
    """In words, by how much poses of views were corrected."""
    turn = before.T_world_camera[views, :, :3].mT @ after.T_world_camera[views, :, :3]
    cosine = (turn.diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2
    shift = (after.positions - before.positions)[views].norm(dim=-1)
    return (
        f"poses refined: turned by {cosine.clamp(-1, 1).acos().rad2deg().mean():.2g} degrees and moved by "
        f"{shift.mean():.2g} units in the mean; the run keeps the refined ones"
    )


def _measure_held_out(run: Run, scene: Scene, watch: Watch) -> dict[str, Any]:
    """Render the held-out views to ``renders/``; their quality and the speed of rendering."""
    started = time.perf_counter()  # finer than Windows' monotonic clock
    images = [render_view(run.field, scene.cameras, view).color.cpu() for view in scene.test.tolist()]
    seconds = time.perf_counter() - started
    files = view_files(scene.names)
    for view, image in zip(scene.test.tolist(), images, strict=True):
        RunFolder(run.folder).write_image(Path("renders") / f"{files[scene.names[view]]}.png", image)
    result = score(images, [scene.image(view).cpu() for view in scene.test.tolist()], None, None)
    rays = len(images) * scene.cameras.width * scene.cameras.height
    watch(Note(f"held-out views: PSNR {result.psnr:.2f} dB, SSIM {result.ssim:.3f}"))
    return {
        "psnr": round(result.psnr, 3),
        "ssim": round(result.ssim, 4),
        "held_out_views": result.views,
        "render_rays_per_second": round(rays / seconds),
    }
