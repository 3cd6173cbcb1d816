"""Taking the masked object out of a scene, from photos to results."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from unscene.device import choose_device, field_device
from unscene.evaluation.run_report import report_run
from unscene.file_names import view_files
from unscene.files import write_json
from unscene.geometry.cameras import orbit_path
from unscene.jobs.forecast import customization_work, forecast, removal_work
from unscene.jobs.running import (
    OFFLOAD,
    SMALLER_SCALE,
    check_customizable,
    customized,
    device_facts,
    drain,
    place,
    start,
    with_grown_masks,
)
from unscene.memory import peak_memory_gb
from unscene.methods import (
    METHODS,
    InNOutConfig,
    MaldNerfConfig,
    NaiveConfig,
    NerfillerConfig,
    SpinNerfConfig,
    check_mald_nerf,
    check_nerfiller,
)
from unscene.priors.choose import load_prior
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.diffusion.autoencoder_features import AutoencoderFeatures
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.results.export import write_points, write_video
from unscene.results.run import Run, keep_run
from unscene.results.truth import Truth, evaluate
from unscene.scenes.image_files import read_image
from unscene.scenes.scene import Scene, SceneError
from unscene.scenes.transforms import write_transforms
from unscene.stages.customization import CustomizationConfig
from unscene.stages.dataset_update import noise_bounds
from unscene.stages.joint_inpainting import joint_noise_bounds
from unscene.stages.removal import Removal
from unscene.training.events import Note, Watch, ignore
from unscene.training.fit import FitConfig
from unscene.training.run import RunFolder

MethodName = Literal["in-n-out", "mald-nerf", "naive", "nerfiller", "spin-nerf"]
NEED_LATENTS = ("mald-nerf", "nerfiller")


@dataclass(frozen=True)
class RemoveOptions:
    """Take the masked object out of a scene."""

    method: MethodName = "in-n-out"
    """The paper to follow."""
    prior: str | None = None
    """What fills images. guided-exemplar copies along surfaces and to where the small diffusion model expects it;
    bundled lets that model go over the copies; others as `unscene priors` lists them, a checkpoint's folder or file, a
    hub id, lama:FILE, files:DIR. None: bundled for mald-nerf and nerfiller, which need a diffusion model,
    else guided-exemplar."""
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
    device: str = "auto"
    """Where to compute: auto (CUDA where it works, else the processor), cpu, cuda, cuda:N or mps."""
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
    nerfiller: NerfillerConfig = field(default_factory=NerfillerConfig)
    """Settings of NeRFiller."""
    spin_nerf: SpinNerfConfig = field(default_factory=SpinNerfConfig)
    """Settings of SPIn-NeRF."""

    @property
    def chosen_prior(self) -> str:
        """The prior asked for, or the one that suits the method."""
        return self.prior or ("bundled" if self.method in NEED_LATENTS else "guided-exemplar")

    @property
    def customizes(self) -> bool:
        """Whether the prior is taught the scene first: MALD-NeRF does so unless told not to, or given one that was."""
        untaught = self.diffusion.customization is None
        return self.customize or (self.method == "mald-nerf" and self.mald_nerf.customize and untaught)

    @property
    def settings(self) -> InNOutConfig | MaldNerfConfig | NaiveConfig | NerfillerConfig | SpinNerfConfig:
        """The chosen method's."""
        return {
            "in-n-out": self.in_n_out,
            "mald-nerf": self.mald_nerf,
            "naive": self.naive,
            "nerfiller": self.nerfiller,
            "spin-nerf": self.spin_nerf,
        }[self.method]


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
    device = choose_device(options.device)
    diffusion = place(options.diffusion, device)
    prior, features = load_prior(options.chosen_prior, diffusion), AutoencoderFeatures(field_device(device))
    if options.method == "mald-nerf":
        check_mald_nerf(prior, options.mald_nerf)
    if options.method == "nerfiller":
        check_nerfiller(prior, options.nerfiller)
    if options.customizes:
        check_customizable(prior, options.diffusion)
    record = {"job": "remove", "scene": scene.name, "source": source or {}, "prior": prior.name, "options": options}
    estimate_depth = _depth_estimator(options.depth, str(diffusion.device))
    folder, watch = start(Path(out), record, scene, device, resume=resume, watch=watch)
    scene = scene.to(field_device(device))
    masked = with_grown_masks(scene, options.mask_margin)
    checkpoints = folder.checkpoints(options.seed)
    config, taught = (_with_effort(part, options.effort) for part in (options.settings, options.customization))
    if warning := _forecast(prior, masked, options, diffusion, config, taught):
        watch(Note(warning))
    ways = ways_to_fit(prior, options, source or {})
    if options.customizes:
        strongest = _strongest_noise(prior, options)
        prior = drain(customized(prior, masked, taught, checkpoints, folder, strongest=strongest), watch, ways=ways)
    method = METHODS[options.method]
    generator = method(masked, prior, features, config, checkpoints, fill=options.fill, estimate_depth=estimate_depth)
    removal: Removal = drain(generator, watch, ways=ways)
    run = keep_run(folder, removal.field, scene)
    rendered = _write_results(run, folder, masked, removal, options, watch)
    metrics: dict[str, dict[str, Any]] = {}
    if truth is not None:
        metrics["removal"] = dataclasses.asdict(evaluate(run, truth, features, rendered)) | {
            "perceptual": features.name
        }
    totals = {"seconds": round(time.monotonic() - started, 1), "peak_memory_gb": round(peak_memory_gb(), 3)}
    write_json(folder.path / "metrics.json", {**metrics, **totals, **device_facts(device)})
    report_run(folder, scene, removal, metrics, options.method, prior.name, options.seed)
    watch(Note(f"report: {folder.path / 'report.html'}"))
    return run


def _forecast(
    prior: Inpainter, scene: Scene, options: RemoveOptions, diffusion: DiffusionConfig, config: Any,
    taught: CustomizationConfig,
) -> str | None:  # fmt: skip
    """How long a large model will take on a processor, and what else there is."""
    if not isinstance(prior, LatentInpainter):
        return None
    teaching = [customization_work(prior, taught)] if options.customizes else []
    work = [*teaching, *removal_work(prior, scene, config, taught=options.customizes)]
    copies = "" if options.method in NEED_LATENTS else "--prior guided-exemplar, "  # which has no latents
    ways = {"naive": "with --holdout", "nerfiller": "with --nerfiller.update.views"}
    fewer = ways.get(options.method, f"with --{options.method}.most-views")
    return forecast(prior, scene, diffusion, work, f"--prior bundled, {copies}or fewer views {fewer}")


def ways_to_fit(prior: Inpainter, options: RemoveOptions, source: dict[str, Any]) -> list[str]:
    """What takes less of a device's memory, of what this run can do."""
    latent, ways = isinstance(prior, LatentInpainter), list[str]()
    if latent and not options.customizes and options.diffusion.offload == "none":
        ways.append(OFFLOAD)
    if options.customizes:
        ways.append("start anew with a smaller --customization.model.batch")
    if latent and options.method == "in-n-out" and options.in_n_out.views_at_once > 1:
        ways.append("start anew with fewer --in-n-out.views-at-once")
    if "scale" in source:
        ways.append(SMALLER_SCALE)
    return ways


def _strongest_noise(prior: Any, options: RemoveOptions) -> float:
    """That the method will start its prior's sampler from, as a share of the schedule."""
    if options.method == "mald-nerf":
        return max(prior.strength, noise_bounds(prior, options.mald_nerf.update)[0])
    if options.method == "nerfiller":
        return max(prior.strength, joint_noise_bounds(prior, options.nerfiller.update)[0])
    return prior.strength


def _depth_estimator(source: str, device: str) -> DepthEstimator | None:
    if source == "field":
        return None
    from unscene.priors.depth.network import DepthNetwork  # loads transformers: seconds

    return DepthNetwork.load(source, device=device).estimate


def _with_effort(config: Any, effort: float) -> Any:
    """A method's settings with all of its fits scaled."""
    fits = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    scaled = {name: value.scaled(effort) for name, value in fits.items() if isinstance(value, FitConfig)}
    return dataclasses.replace(config, **scaled)


def _write_results(
    run: Run, folder: RunFolder, scene: Scene, removal: Removal, options: RemoveOptions, watch: Watch
) -> dict[int, Tensor]:
    """Renders, masks, cleaned data set, video and points. Returns the renders of test views, H W 3 uint8."""
    assert scene.masks is not None
    views = scene.test if len(scene.test) else scene.train
    files = run.render("test", run.folder / "renders", watch)
    cleaned, size, rendered = removal.scene, (scene.cameras.width, scene.cameras.height), dict[int, Tensor]()
    if len(scene.test):  # test photos may show the object too: inside their masks the field speaks
        for view, file in zip(views.tolist(), files, strict=True):
            rendered[view] = torch.from_numpy(read_image(file, file.name, size))
        shown = (
            torch.where(scene.masks[view][..., None].cpu(), render, scene.images[view].cpu())
            for view, render in rendered.items()
        )
        cleaned = cleaned.with_images(views, shown)
    write_transforms(run.folder / "dataset", cleaned.with_masks(None))
    files = view_files(scene.names)
    for name, mask in zip(scene.names, scene.masks, strict=True):
        folder.write_image(Path("masks") / f"{files[name]}.png", mask)
    if options.video_frames:
        path = orbit_path(scene.cameras[scene.train], options.video_frames)
        drain(write_video(run.folder / "video.mp4", run.field, path), watch)
    generator = torch.Generator().manual_seed(options.seed)
    points = write_points(
        run.folder / "scene.ply", run.field, scene.cameras[scene.train], points=200_000, generator=generator,
        origin=scene.origin,
    )  # fmt: skip
    drain(points, watch)
    return rendered
