"""The jobs of the package from photos to results: fit a scene, remove an object, render and evaluate what came out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from unscene.evaluation.metrics import score
from unscene.evaluation.run_report import report_run
from unscene.export import write_points, write_video
from unscene.fields.field import render_view
from unscene.fields.nerf import Nerf, NerfConfig
from unscene.fields.pose_refinement import PoseRefinement
from unscene.files import write_json
from unscene.geometry.cameras import orbit_path
from unscene.geometry.masks import dilate
from unscene.methods import METHODS, InNOutConfig, MaldNerfConfig, NaiveConfig, check_mald_nerf
from unscene.methods.customization import CustomizationConfig, customize_prior
from unscene.methods.result import Removal
from unscene.priors.autoencoder_features import AutoencoderFeatures
from unscene.priors.choose import load_prior
from unscene.priors.depth import DepthEstimator
from unscene.priors.diffusion_config import DiffusionConfig
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.priors.prior_error import PriorError
from unscene.results import Run, Truth, evaluate, keep_run, view_key
from unscene.scenes.image_files import read_image
from unscene.scenes.scene import Scene, SceneError
from unscene.scenes.transforms import write_transforms
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note, StepDone, Watch, ignore
from unscene.training.fit import FitConfig
from unscene.training.fit import fit as fit_field
from unscene.training.pixels import PixelReconstruction, PixelSampler, RegularizerConfig, training_pixels
from unscene.training.run import RunFolder, peak_memory_gb

MethodName = Literal["in-n-out", "mald-nerf", "naive"]


@dataclass(frozen=True)
class FitOptions:
    """Fit a radiance field to all of a scene."""

    nerf: NerfConfig = field(default_factory=NerfConfig)
    """The field."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(seconds=60, learning_rate=2e-2))
    """How long and how fast to learn."""
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    """Weights of the histogram losses."""
    rays: int = 2304
    """Rays per step."""
    refine_poses: bool = False
    """Correct the camera poses while fitting."""
    seed: int = 0
    """Of all random numbers."""


@dataclass(frozen=True)
class CustomizeOptions:
    """Teach a diffusion prior a scene."""

    prior: str = "bundled"
    """Diffusion prior to teach, see `unscene priors`."""
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    """How it is loaded."""
    customization: CustomizationConfig = field(default_factory=CustomizationConfig)
    """How it is taught."""
    mask_margin: int = 2
    """Pixels by which masks grow first, as in `remove`."""
    seed: int = 0
    """Of all random numbers."""


@dataclass(frozen=True)
class RemoveOptions:
    """Take the masked object out of a scene."""

    method: MethodName = "in-n-out"
    """The paper to follow."""
    prior: str | None = None
    """What fills images. guided-exemplar copies along surfaces and to where the small diffusion model expects it;
    bundled lets that model go over the copies; others as `unscene priors` lists them, a checkpoint's folder or file, a
    hub id, lama:FILE, files:DIR. None: bundled for mald-nerf, which needs a diffusion model, else guided-exemplar."""
    depth: str = "field"
    """Depth behind the object: field completes the field's own; depth-anything-v2, zoedepth or a network's folder."""
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    """Settings of a diffusion prior."""
    customize: bool = False
    """Teach a diffusion prior the scene first (MALD-NeRF's per-scene customisation)."""
    customization: CustomizationConfig = field(default_factory=CustomizationConfig)
    """How it is taught."""
    fill: Literal["unseen", "mask"] = "unseen"
    """Inpaint only what no view has seen, or the whole object mask as the papers do."""
    mask_margin: int = 2
    """Pixels by which masks grow before anything else: masks tend to miss the object's rim."""
    seed: int = 0
    """Of all random numbers."""
    effort: float = 1.0
    """Multiplies the steps of every fit: 0.1 for a first look, 3 for patience or a fast machine."""
    video_frames: int = 48
    """Frames of the orbit video; 0 writes none."""
    in_n_out: InNOutConfig = field(default_factory=InNOutConfig)
    """Settings of In-N-Out."""
    mald_nerf: MaldNerfConfig = field(default_factory=MaldNerfConfig)
    """Settings of MALD-NeRF."""
    naive: NaiveConfig = field(default_factory=NaiveConfig)
    """Settings of the naive baseline."""

    @property
    def chosen_prior(self) -> str:
        """The prior asked for, or the one that suits the method."""
        return self.prior or ("bundled" if self.method == "mald-nerf" else "guided-exemplar")

    @property
    def customizes(self) -> bool:
        """Whether the prior is taught the scene first: MALD-NeRF does so unless told not to, or given one that was."""
        untaught = self.diffusion.customization is None
        return self.customize or (self.method == "mald-nerf" and self.mald_nerf.customize and untaught)

    @property
    def settings(self) -> InNOutConfig | MaldNerfConfig | NaiveConfig:
        """The chosen method's."""
        return {"in-n-out": self.in_n_out, "mald-nerf": self.mald_nerf, "naive": self.naive}[self.method]


def fit(scene: Scene, out: Path | str, options: FitOptions = FitOptions(), *, resume: bool = False,
        watch: Watch = ignore, source: dict[str, Any] | None = None) -> Run:  # fmt: skip
    """Fit a radiance field to a scene as it is, masks or not, and measure it on the held-out views."""
    record = {"job": "fit", "scene": scene.name, "source": source or {}, "options": options}
    folder, watch = _start(Path(out), record, scene, resume=resume, watch=watch)
    checkpoints = folder.checkpoints(options.seed)
    nerf = Nerf.around(scene.cameras[scene.train], options.nerf, checkpoints.generator("field"))
    pixels = PixelSampler(scene, training_pixels(scene))
    poses = PoseRefinement(len(scene), float(nerf.radius)) if options.refine_poses else None
    objective = PixelReconstruction(nerf, scene.cameras, pixels, options.regularizer, rays=options.rays, poses=poses)
    learnt = torch.nn.ModuleList([nerf, *([poses] if poses else [])])
    meter = _RayMeter(watch)
    _drain(fit_field("fit", learnt, objective, options.fit, checkpoints, rays_per_step=options.rays), meter)
    run = keep_run(folder, nerf, scene)
    speed = meter.median() or run.metrics.get("rays_per_second")  # a run resumed at its end takes no steps
    metrics: dict[str, Any] = {"rays_per_second": speed}
    if len(scene.test):
        metrics |= _measure_held_out(run, scene, watch)
    write_json(folder.path / "metrics.json", metrics | {"peak_memory_gb": round(peak_memory_gb(), 3)})
    return run


def remove(scene: Scene, out: Path | str, options: RemoveOptions = RemoveOptions(), *, resume: bool = False,
           watch: Watch = ignore, source: dict[str, Any] | None = None, truth: Truth | None = None) -> Run:  # fmt: skip
    """Take the masked object out of a scene. Leaves field, data set, video, points, renders and report in ``out``.

    truth: what the test views really look like without the object, if known. Raises SceneError without masks.
    """
    if scene.masks is None:
        raise SceneError(
            f"{scene.name}: expected masks of the object to remove, found none; put one per photo (white = remove) "
            "into masks/, or name their folder with --masks."
        )
    started = time.monotonic()
    prior, features = load_prior(options.chosen_prior, options.diffusion), AutoencoderFeatures()
    if options.method == "mald-nerf":
        check_mald_nerf(prior, options.mald_nerf)
    if options.customizes:
        _check_customizable(prior, options.diffusion)
    record = {"job": "remove", "scene": scene.name, "source": source or {}, "prior": prior.name, "options": options}
    estimate_depth = _depth_estimator(options)
    folder, watch = _start(Path(out), record, scene, resume=resume, watch=watch)
    masked = _with_grown_masks(scene, options.mask_margin)
    checkpoints = folder.checkpoints(options.seed)
    if options.customizes:
        taught = _with_effort(options.customization, options.effort)
        prior = _drain(_customized(prior, masked, taught, checkpoints, folder), watch)
    method, config = METHODS[options.method], _with_effort(options.settings, options.effort)
    generator = method(masked, prior, features, config, checkpoints, fill=options.fill, estimate_depth=estimate_depth)
    removal: Removal = _drain(generator, watch)
    run = keep_run(folder, removal.field, scene)
    _write_results(run, folder, masked, removal, options, watch)
    metrics: dict[str, Any] = {}
    if truth is not None:
        metrics["removal"] = dataclasses.asdict(evaluate(run, truth, features)) | {"perceptual": features.name}
    write_json(
        folder.path / "metrics.json",
        metrics | {"seconds": round(time.monotonic() - started, 1), "peak_memory_gb": round(peak_memory_gb(), 3)},
    )
    report_run(folder, scene, removal, metrics, options.method, prior.name, options.seed)
    watch(Note(f"report: {folder.path / 'report.html'}"))
    return run


def _depth_estimator(options: RemoveOptions) -> DepthEstimator | None:
    if options.depth == "field":
        return None
    from unscene.priors.depth_network import DepthNetwork  # loads transformers: seconds

    return DepthNetwork.load(options.depth, device=options.diffusion.device).estimate


def customize(scene: Scene, out: Path | str, options: CustomizeOptions = CustomizeOptions(), *, resume: bool = False,
              watch: Watch = ignore, source: dict[str, Any] | None = None) -> Path:  # fmt: skip
    """Teach a diffusion prior a scene; returns the folder with LoRA and scene token, ``out/customization``."""
    model = load_prior(options.prior, options.diffusion)
    _check_customizable(model, options.diffusion)
    record = {"job": "customize", "scene": scene.name, "source": source or {}, "prior": model.name, "options": options}
    folder, watch = _start(Path(out), record, scene, resume=resume, watch=watch)
    masked = _with_grown_masks(scene, options.mask_margin)
    _drain(_customized(model, masked, options.customization, folder.checkpoints(options.seed), folder), watch)
    return folder.path / "customization"


def _with_grown_masks(scene: Scene, margin: int) -> Scene:
    return scene.with_masks(dilate(scene.masks, margin)) if scene.masks is not None and margin else scene


def _check_customizable(prior: Inpainter, diffusion: DiffusionConfig) -> None:
    if diffusion.offload != "none":
        raise PriorError(
            "customize: expected the whole model on its device; leave out --diffusion.offload, or, with mald-nerf, add "
            "--mald-nerf.no-customize."
        )
    if not isinstance(prior, LatentInpainter):
        raise PriorError(f"customize: expected a diffusion prior, got '{prior.name}'; choose --prior bundled.")


def _customized(
    prior: Any, scene: Scene, config: CustomizationConfig, checkpoints: Checkpoints, folder: RunFolder
) -> Generator[Event, None, Inpainter]:
    """The prior once it knows the scene; what it has learnt is kept in the run folder."""
    customization = yield from customize_prior(prior, scene, config, checkpoints)
    if not (folder.path / "customization").exists():
        customization.save(folder.path / "customization")
    return customization.finish()


def _with_effort(config: Any, effort: float) -> Any:
    """A method's settings with all of its fits scaled."""
    fits = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    scaled = {name: value.scaled(effort) for name, value in fits.items() if isinstance(value, FitConfig)}
    return dataclasses.replace(config, **scaled)


def _start(out: Path, record: dict[str, Any], scene: Scene, *, resume: bool, watch: Watch) -> tuple[RunFolder, Watch]:
    folder = RunFolder.create(out, record, resume=resume)
    watch = folder.logging(watch)
    for note in scene.notes:
        watch(Note(note))
    return folder, watch


def _drain(events: Generator[Event, None, Any], watch: Watch) -> Any:
    while True:
        try:
            watch(next(events))
        except StopIteration as finished:
            return finished.value


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


def _measure_held_out(run: Run, scene: Scene, watch: Watch) -> dict[str, Any]:
    """Render the held-out views to ``renders/``; their quality and the speed of rendering."""
    started = time.monotonic()
    images = [render_view(run.field, scene.cameras, view).color for view in scene.test.tolist()]
    seconds = time.monotonic() - started
    for view, image in zip(scene.test.tolist(), images, strict=True):
        RunFolder(run.folder).write_image(Path("renders") / f"{view_key(scene.names[view])}.png", image)
    result = score(images, [scene.image(view) for view in scene.test.tolist()], None, None)
    rays = len(images) * scene.cameras.width * scene.cameras.height
    watch(Note(f"held-out views: PSNR {result.psnr:.2f} dB, SSIM {result.ssim:.3f}"))
    return {
        "psnr": round(result.psnr, 3),
        "ssim": round(result.ssim, 4),
        "held_out_views": result.views,
        "render_rays_per_second": round(rays / seconds),
    }


def _write_results(
    run: Run, folder: RunFolder, scene: Scene, removal: Removal, options: RemoveOptions, watch: Watch
) -> None:
    """Renders, masks, cleaned data set, video and points."""
    assert scene.masks is not None
    views = scene.test if len(scene.test) else scene.train
    files = run.render("test", run.folder / "renders", watch)
    cleaned = removal.scene
    if len(scene.test):  # test photos may show the object too: inside their masks the field speaks
        size = (scene.cameras.width, scene.cameras.height)
        renders = torch.stack([torch.from_numpy(read_image(file, file.name, size)) for file in files])
        cleaned = cleaned.with_images(views, torch.where(scene.masks[views][..., None], renders, scene.images[views]))
    write_transforms(run.folder / "dataset", cleaned.with_masks(None))
    for name, mask in zip(scene.names, scene.masks, strict=True):
        folder.write_image(Path("masks") / f"{view_key(name)}.png", mask)
    if options.video_frames:
        path = orbit_path(scene.cameras[scene.train], options.video_frames)
        _drain(write_video(run.folder / "video.mp4", run.field, path), watch)
    generator = torch.Generator().manual_seed(options.seed)
    points = write_points(
        run.folder / "scene.ply", run.field, scene.cameras[scene.train], points=200_000, generator=generator
    )
    _drain(points, watch)
