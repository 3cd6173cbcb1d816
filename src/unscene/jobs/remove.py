"""Taking the masked object out of a scene, from photos to results."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unscene.device import choose_device, field_device
from unscene.evaluation.outside_photos import find_outside
from unscene.evaluation.published import load_lpips
from unscene.evaluation.run_report import report_run
from unscene.fields.nerf import Nerf
from unscene.fields.splats import Splats
from unscene.file_names import view_files
from unscene.files import write_json
from unscene.geometry.cameras import Cameras, orbit_path
from unscene.jobs.export import write_run_splats
from unscene.jobs.forecast import customization_work, forecast, removal_work
from unscene.jobs.given_splat import GivenSplat, check_frame, in_its_coordinates, without_object
from unscene.jobs.grown_shadows import grow_shadows, lent_shadows, with_shadows
from unscene.jobs.presets import removal_deviations
from unscene.jobs.removal_checks import check_prior, check_request
from unscene.jobs.remove_options import NEED_LATENTS, RemoveOptions
from unscene.jobs.running import (
    OFFLOAD,
    SMALLER_SCALE,
    customized,
    device_facts,
    drain,
    place,
    start,
    with_grown_masks,
)
from unscene.jobs.start_from import begin_reconstruction, borrow, reconstruction_inputs
from unscene.losses.oriented_energies import OrientedEnergies
from unscene.losses.perceptual import WeightedFeatures
from unscene.memory import peak_memory_gb
from unscene.methods import METHODS, SplatRemovalConfig, in_n_out_splats
from unscene.priors.choose import load_prior
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.diffusion.autoencoder_features import AutoencoderFeatures
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.results.export import write_points, write_video
from unscene.results.run import Run, keep_run
from unscene.results.truth import Truth, evaluate
from unscene.scenes.image_files import read_image
from unscene.scenes.scene import Scene
from unscene.scenes.transforms import write_transforms
from unscene.splat_files.formats import write_splats
from unscene.stages.cleaning import LAST, drop_unsupported
from unscene.stages.customization import CustomizationConfig
from unscene.stages.dataset_update import noise_bounds
from unscene.stages.joint_inpainting import joint_noise_bounds
from unscene.stages.removal import Removal
from unscene.stages.splat_surroundings import rendered_scene
from unscene.stages.view_choice import spread
from unscene.training.events import Note, Watch, ignore
from unscene.training.fit import FitConfig
from unscene.training.run import RunFolder

LOOKED_AT = 12  # frames of the video of which is told how much lies outside of the photos
SCENE = "scene.ply"  # points, or splats where the field is made of them


def remove(
    scene: Scene, out: Path | str, options: RemoveOptions = RemoveOptions(), *,  # noqa: B008
    resume: bool = False, start_from: Path | str | None = None, watch: Watch = ignore,
    source: dict[str, Any] | None = None, truth: Truth | None = None, splat: GivenSplat | None = None,
) -> Run:  # fmt: skip
    """Take the masked object out of a scene. Leaves field, data set, video, points, renders and report in ``out``.

    start_from: another run of the scene, whose reconstruction is taken over; RunError if it is not the same (`borrow`).
    truth: what the test views really look like without the object, if known. splat: take the object out of this splat
    of the scene. Raises SceneError without masks, SplatError for a splat of another frame than the scene's.
    """
    check_request(scene, options, splat, takes_over=start_from is not None)
    started, on_splats = time.monotonic(), options.field == "splats" or splat is not None
    device = choose_device(options.device)
    diffusion = place(options.diffusion, device)
    prior, features = load_prior(options.chosen_prior, diffusion), _patch_features(options, field_device(device))
    check_prior(prior, scene, options, on_splats=on_splats)
    record = {"job": "remove", "scene": scene.name, "source": source or {}, "prior": prior.name, "options": options}
    estimate_depth = _depth_estimator(options.depth, str(diffusion.device))
    scene = scene.to(field_device(device))
    fits = None
    if splat is not None:
        scene = in_its_coordinates(scene, splat)
        fits = check_frame(scene, splat) if splat.has_photos else None
    parts = (options.settings, options.customization, options.splats)
    config, taught, gaussians = (_with_effort(part, options.effort) for part in parts)
    lender, shadows = None, None
    if start_from is not None:
        shadows = lent_shadows(Path(start_from)) if options.grow_shadow else None
        lent = scene if shadows is None else with_shadows(scene, shadows)
        inputs = reconstruction_inputs(with_grown_masks(lent, options.mask_margin), config, options.seed)
        lender = borrow(Path(start_from), Path(out), inputs)
        record["start_from"] = Path(start_from).expanduser().resolve()
    folder, watch = start(Path(out), record, scene, device, resume=resume, watch=watch)
    departures = removal_deviations(options)
    watch(Note(f"preset {options.preset}: {len(departures)} settings are not the paper's; the report lists them"))
    watch(Note(f"patches are compared by: {features.name}"))
    if on_splats:
        watch(Note("the field is Gaussian splats, taught by views and windows where In-N-Out teaches a NeRF by rays"))
    if fits is not None:
        watch(Note(fits))
    checkpoints = folder.checkpoints(options.seed)
    if options.grow_shadow:
        scene = drain(grow_shadows(scene, config.nerf, options.effort, folder, checkpoints, shadows), watch)
    masked = with_grown_masks(scene, options.mask_margin)
    inputs = None if splat is not None else reconstruction_inputs(masked, config, options.seed)
    begin_reconstruction(folder, checkpoints, inputs, lender, watch)
    if warning := _forecast(prior, masked, options, diffusion, config, taught):
        watch(Note(warning))
    ways, given = ways_to_fit(prior, options, source or {}), None
    if splat is not None:
        given = splat.content.gaussians.to(scene.device)
        watch(Note("around the masks the splat's own renders are learnt, so that it stays as it was"))
        masked = drain(rendered_scene(given, masked), watch, ways=ways)
    if options.customizes:
        strongest = _strongest_noise(prior, options)
        prior = drain(customized(prior, masked, taught, checkpoints, folder, strongest=strongest), watch, ways=ways)
    how = {"fill": options.fill, "estimate_depth": estimate_depth}
    if on_splats:
        generator = in_n_out_splats(
            masked, prior, features, config, gaussians, checkpoints, **how, given=given, object_masks=scene.masks
        )  # fmt: skip
    else:
        method = METHODS[options.method]
        generator = method(masked, prior, features, config, checkpoints, **how, clean=options.clean)
    removal: Removal = drain(generator, watch, ways=ways)
    if options.clean:  # again, as now all photos are whole
        assert isinstance(removal.field, Nerf)
        whole = removal.scene.with_masks(None)
        drain(drop_unsupported(removal.field, whole, checkpoints, stage=LAST), watch)
    if splat is not None and splat.has_photos:
        removal, masked = _over_photos(removal, masked, scene.images)
    elif splat is not None:
        scene = dataclasses.replace(scene, images=masked.images)
    run = keep_run(folder, removal.field, scene)
    rendered = _write_results(run, folder, masked, removal, options, watch, splat)
    metrics: dict[str, dict[str, Any]] = {}
    if truth is not None:
        judge = AutoencoderFeatures(field_device(device))  # which taught nothing
        metrics["removal"] = dataclasses.asdict(evaluate(run, truth, judge, rendered)) | {"perceptual": judge.name}
    outside = drain(find_outside(run.field, scene, _renders(scene, options)), watch)
    totals = {"seconds": round(time.monotonic() - started, 1), "peak_memory_gb": round(peak_memory_gb(), 3)}
    write_json(
        folder.path / "metrics.json", {**metrics, **totals, **device_facts(device), "outside_of_photos": outside}
    )
    summary = {"method": options.method, "preset": options.preset, "prior": prior.name}
    changed = [dataclasses.astuple(departure) for departure in departures]
    differences = (*options.settings.DIFFERENCES, *(SplatRemovalConfig.DIFFERENCES if on_splats else ()))
    report_run(folder, scene, removal, metrics, summary, options.seed, changed, differences)
    watch(Note(f"report: {folder.path / 'report.html'}"))
    return run


def _over_photos(removal: Removal, masked: Scene, photos: Tensor) -> tuple[Removal, Scene]:
    """What was made of a splat's renders, and these, with photos (N H W 3 uint8) in their place outside the masks."""
    assert masked.masks is not None
    inside = masked.masks[..., None].to(photos.device)
    shown = torch.where(inside, removal.scene.images, photos)
    cleaned = dataclasses.replace(removal.scene, images=shown)
    return dataclasses.replace(removal, scene=cleaned), dataclasses.replace(masked, images=photos)


def _patch_features(options: RemoveOptions, device: torch.device) -> OrientedEnergies | WeightedFeatures:
    """What the methods compare patches by. Raises MetricError without LPIPS's weights."""
    match options.perceptual:
        case "oriented-energies":
            return OrientedEnergies(device)
        case "lpips-vgg":
            return load_lpips("vgg", options.perceptual_weights, device)
        case "lpips-alex":
            return load_lpips("alex", options.perceptual_weights, device)


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
    fewer = {
        "naive": "fewer views with --holdout",
        "nerfiller": "fewer views with --nerfiller.update.views",
        "infusion": "fewer steps with --diffusion.steps",
        "inpaint3d": "fewer steps with --inpaint3d.distillation.steps",
    }.get(options.method, f"fewer views with --{options.method}.most-views")
    return forecast(prior, scene, diffusion, work, f"--prior bundled, {copies}or {fewer}")


def ways_to_fit(prior: Inpainter, options: RemoveOptions, source: dict[str, Any]) -> list[str]:
    """What takes less of a device's memory, of what this run can do."""
    latent, ways = isinstance(prior, LatentInpainter), list[str]()
    if options.method == "inpaint3d":
        ways.append("start anew with a smaller --inpaint3d.window")
    elif latent and not options.customizes and options.diffusion.offload == "none":
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
    if options.method == "inpaint3d":
        return options.inpaint3d.strongest
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


def _video_path(scene: Scene, options: RemoveOptions) -> Cameras:
    return orbit_path(scene.cameras[scene.train], options.video_frames)


def _renders(scene: Scene, options: RemoveOptions) -> dict[str, tuple[Cameras, list[str]]]:
    """What a run renders beside its training views, for `find_outside`: test views and some of the video."""
    renders = {}
    if len(scene.test):
        renders["the test views"] = scene.cameras[scene.test], [scene.names[view] for view in scene.test.tolist()]
    if options.video_frames:
        frames = spread(torch.arange(options.video_frames), LOOKED_AT)
        renders["the video"] = _video_path(scene, options)[frames], [f"frame-{frame}" for frame in frames.tolist()]
    return renders


def _write_results(
    run: Run, folder: RunFolder, scene: Scene, removal: Removal, options: RemoveOptions, watch: Watch,
    splat: GivenSplat | None,
) -> dict[int, Tensor]:  # fmt: skip
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
        drain(write_video(run.folder / "video.mp4", run.field, _video_path(scene, options)), watch)
    if splat is not None and isinstance(run.field, Splats):
        assert removal.rows is not None
        write_splats(run.folder / SCENE, without_object(splat, run.field.still, removal.rows))
        return rendered
    if isinstance(run.field, Splats):
        write_run_splats(run, run.field, run.folder / SCENE, watch)
        return rendered
    generator = torch.Generator().manual_seed(options.seed)
    points = write_points(
        run.folder / SCENE, run.field, scene.cameras[scene.train], points=200_000, generator=generator,
        origin=scene.origin,
    )  # fmt: skip
    drain(points, watch)
    return rendered
