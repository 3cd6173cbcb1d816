"""Taking the masked object out of a scene, from photos to results."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch

from unscene.device import choose_device, field_device
from unscene.evaluation.outside_photos import find_outside
from unscene.evaluation.published import load_lpips
from unscene.evaluation.run_report import report_run
from unscene.fields.nerf import Nerf
from unscene.files import write_json
from unscene.jobs.given_splat import GivenSplat, check_frame, in_its_coordinates
from unscene.jobs.grown_shadows import grow_shadows, lent_shadows, with_shadows
from unscene.jobs.presets import removal_deviations
from unscene.jobs.removal_checks import check_prior, check_request
from unscene.jobs.removal_forecast import forecast_removal, strongest_noise, ways_to_fit
from unscene.jobs.removal_results import over_photos, renders_beside, write_results
from unscene.jobs.remove_options import RemoveOptions
from unscene.jobs.running import (
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
from unscene.results.run import Run, keep_run
from unscene.results.truth import Truth, evaluate
from unscene.scenes.scene import Scene
from unscene.stages.cleaning import LAST, drop_unsupported
from unscene.stages.removal import Removal
from unscene.stages.splat_surroundings import rendered_scene
from unscene.training.events import Note, Watch, ignore
from unscene.training.fit import FitConfig


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
    started, device = time.monotonic(), choose_device(options.device)
    on_splats = splat is not None or options.chosen_field(device) == "splats"
    check_request(scene, options, splat, on_splats=on_splats, takes_over=start_from is not None)
    diffusion = place(options.diffusion, device)
    prior, features = load_prior(options.chosen_prior, diffusion), _patch_features(options, field_device(device))
    check_prior(prior, scene, options)
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
        watch(Note("the field is Gaussian splats, taught by views and windows, not by rays"))
    if fits is not None:
        watch(Note(fits))
    checkpoints = folder.checkpoints(options.seed)
    if options.grow_shadow:
        scene = drain(grow_shadows(scene, config.nerf, options.effort, folder, checkpoints, shadows), watch)
    masked = with_grown_masks(scene, options.mask_margin)
    inputs = None if splat is not None else reconstruction_inputs(masked, config, options.seed)
    begin_reconstruction(folder, checkpoints, inputs, lender, watch)
    if warning := forecast_removal(prior, masked, options, diffusion, config, taught):
        watch(Note(warning))
    ways, given = ways_to_fit(prior, options, source or {}), None
    if splat is not None:
        given = splat.content.gaussians.to(scene.device)
        watch(Note("around the masks the splat's own renders are learnt, so that it stays as it was"))
        masked = drain(rendered_scene(given, masked), watch, ways=ways)
    if options.customizes:
        strongest = strongest_noise(prior, options)
        prior = drain(customized(prior, masked, taught, checkpoints, folder, strongest=strongest), watch, ways=ways)
    how = {"fill": options.fill, "estimate_depth": estimate_depth}
    if on_splats and options.method == "in-n-out":
        generator = in_n_out_splats(
            masked, prior, features, config, gaussians, checkpoints, **how, given=given, object_masks=scene.masks
        )  # fmt: skip
    else:
        method = METHODS[options.method]
        how |= {"clean": options.clean} | ({"splats": gaussians} if on_splats else {})
        generator = method(masked, prior, features, config, checkpoints, **how)
    removal: Removal = drain(generator, watch, ways=ways)
    if options.clean:  # again, as now all photos are whole
        assert isinstance(removal.field, Nerf)
        whole = removal.scene.with_masks(None)
        drain(drop_unsupported(removal.field, whole, checkpoints, stage=LAST), watch)
    if splat is not None and splat.has_photos:
        removal, masked = over_photos(removal, masked, scene.images)
    elif splat is not None:
        scene = dataclasses.replace(scene, images=masked.images)
    run = keep_run(folder, removal.field, scene)
    rendered = write_results(run, folder, masked, removal, options, watch, splat)
    metrics: dict[str, dict[str, Any]] = {}
    if truth is not None:
        judge = AutoencoderFeatures(field_device(device))  # which taught nothing
        metrics["removal"] = dataclasses.asdict(evaluate(run, truth, judge, rendered)) | {"perceptual": judge.name}
    outside = drain(find_outside(run.field, scene, renders_beside(scene, options)), watch)
    totals = {"seconds": round(time.monotonic() - started, 1), "peak_memory_gb": round(peak_memory_gb(), 3)}
    write_json(
        folder.path / "metrics.json", {**metrics, **totals, **device_facts(device), "outside_of_photos": outside}
    )
    summary = {"method": options.method, "preset": options.preset, "prior": prior.name}
    changed = [dataclasses.astuple(departure) for departure in departures]
    of_field = SplatRemovalConfig.DIFFERENCES if on_splats else options.settings.DIFFERENCES_OF_RAYS
    differences = (*of_field, *options.settings.DIFFERENCES)
    report_run(folder, scene, removal, metrics, summary, options.seed, changed, differences)
    watch(Note(f"report: {folder.path / 'report.html'}"))
    return run


def _patch_features(options: RemoveOptions, device: torch.device) -> OrientedEnergies | WeightedFeatures:
    """What the methods compare patches by. Raises MetricError without LPIPS's weights."""
    match options.perceptual:
        case "oriented-energies":
            return OrientedEnergies(device)
        case "lpips-vgg":
            return load_lpips("vgg", options.perceptual_weights, device)
        case "lpips-alex":
            return load_lpips("alex", options.perceptual_weights, device)


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
