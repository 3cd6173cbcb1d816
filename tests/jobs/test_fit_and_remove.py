"""From a folder of photos to a finished run and back: what `fit` and `remove` leave, and what can be made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import imageio.v3 as imageio
import numpy as np
import pytest
import torch
import trimesh
from safetensors.torch import load_file
from torch import Tensor

import unscene
from tests.box_scene import BoxScene, box_scene, moved, write_capture
from tests.conftest import TINY_NERF
from unscene.fields.field import render_view
from unscene.fields.nerf import Nerf
from unscene.fields.pose_refinement import PoseRefinement
from unscene.geometry.masks import dilate
from unscene.jobs.customize import CustomizeOptions, customize
from unscene.methods import (
    InfusionConfig,
    InNOutConfig,
    Inpaint3dConfig,
    InpaintNerf360Config,
    MaldNerfConfig,
    NaiveConfig,
    NerfillerConfig,
    SpinNerfConfig,
)
from unscene.priors.choose import load_prior
from unscene.priors.depth.completion import Estimate
from unscene.priors.diffusion.config import CustomizeConfig, DiffusionConfig
from unscene.priors.prior_error import PriorError
from unscene.results.export import write_points
from unscene.results.run import Run, keep_run
from unscene.results.truth import Truth
from unscene.scenes.scene import Scene, SceneError
from unscene.scenes.transforms import read_cameras, write_frames
from unscene.stages.customization import CustomizationConfig
from unscene.stages.dataset_update import UpdateConfig
from unscene.stages.inpainted_views import InpaintedViewsConfig
from unscene.stages.joint_inpainting import JointUpdateConfig
from unscene.stages.method_error import MethodError
from unscene.stages.patches import PatchConfig
from unscene.training.events import Event, Note, StepDone
from unscene.training.run import RunError, RunFolder

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = unscene.FitConfig(steps=2)
FAST = unscene.FitConfig(steps=150, learning_rate=3e-2, warmup_steps=5)
IN_N_OUT = InNOutConfig(
    nerf=TINY_NERF, reconstruction=FAST, prior=QUICK, joint=QUICK, rays=512, prior_rays=64, joint_prior_rays=64,
    candidates=2, patch=PatchConfig(size=16),
)  # fmt: skip
REMOVE = unscene.RemoveOptions(prior="exemplar", video_frames=4, in_n_out=IN_N_OUT)
QUICK_REMOVE = replace(REMOVE, in_n_out=replace(IN_N_OUT, reconstruction=QUICK), video_frames=0)
FIT = unscene.FitOptions(nerf=TINY_NERF, fit=FAST, rays=512)
QUICK_FIT = replace(FIT, fit=QUICK)
MARGIN, POINTS = REMOVE.mask_margin, 8000


@pytest.fixture(scope="module", autouse=True)
def few_points() -> Iterator[None]:
    """Point clouds of less than the usual 200,000 points, which take as long as all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "unscene.jobs.removal_results.write_points",
            lambda *a, **more: write_points(*a, **more | {"points": POINTS}),
        )
        yield


@pytest.fixture(scope="module")
def traced() -> BoxScene:
    return box_scene(width=96, height=72, test_views=2)


@pytest.fixture(scope="module")
def scene(traced: BoxScene, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Read from a folder, at half the resolution of its photos: 48x36."""
    folder = write_capture(tmp_path_factory.mktemp("captures") / "room", traced.scene)
    return unscene.load_scene(folder, scale=2)


@pytest.fixture(scope="module")
def removed(one_thread: None, few_points: None, scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return unscene.remove(scene, out=tmp_path_factory.mktemp("runs") / "removed", options=REMOVE)


@pytest.fixture(scope="module")
def elsewhere(scene: Scene) -> Scene:
    """The scene in another world: turned, shifted far away and 37 times as large."""
    turn = trimesh.transformations.rotation_matrix(2.0, [1, 2, 3])[:3, :3]
    return moved(scene, torch.from_numpy(turn).float(), torch.tensor([300.0, -120.0, 75.0]), 37.0)


@pytest.fixture(scope="module")
def fitted(one_thread: None, elsewhere: Scene, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return unscene.fit(elsewhere.with_masks(None), out=tmp_path_factory.mktemp("runs") / "fitted", options=FIT)


def read_png(path: Path) -> Tensor:
    return torch.from_numpy(imageio.imread(path))


def psnr(image: Tensor, truth: Tensor) -> float:
    return -10 * math.log10((image.float() / 255 - truth.float() / 255).square().mean().item())


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def masks_of(scene: Scene, margin: int = 0) -> Tensor:
    assert scene.masks is not None
    return dilate(scene.masks, margin)


# What `fit` leaves


def test_fit_writes_metrics_and_the_held_out_renders(fitted: Run, elsewhere: Scene) -> None:
    metrics = json.loads((fitted.folder / "metrics.json").read_text())
    assert metrics == fitted.metrics
    assert metrics["held_out_views"] == 2
    assert all(metrics[name] > 0 for name in ("psnr", "ssim", "rays_per_second", "render_rays_per_second"))
    assert 0.05 < metrics["peak_memory_gb"] < 100
    errors = []
    for view in elsewhere.test.tolist():
        image = read_png(fitted.folder / "renders" / f"{view:03}.png")
        assert image.shape == (36, 48, 3)
        errors.append(psnr(image, elsewhere.images[view]))
    assert metrics["psnr"] == pytest.approx(np.mean(errors), abs=0.05)
    assert metrics["psnr"] > 15


def test_fit_records_what_it_did(fitted: Run) -> None:
    config = json.loads((fitted.folder / "config.json").read_text())
    assert config["job"] == "fit" and config["scene"] == "room"
    assert config["options"]["fit"]["steps"] == 150 and config["options"]["seed"] == 0
    assert {"python", "torch", "unscene"} <= set(config["versions"])
    events = [json.loads(line) for line in (fitted.folder / "events.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["event"] == "StepDone"]
    assert steps and all(event["rays_per_second"] > 0 for event in steps)


def test_fit_without_held_out_views_has_nothing_to_measure(scene: Scene, tmp_path: Path) -> None:
    run = unscene.fit(scene.with_holdout(0), tmp_path / "run", QUICK_FIT)
    assert "psnr" not in run.metrics and "peak_memory_gb" in run.metrics


def test_refined_poses_are_kept_in_the_run(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What learnt them is gone with the process: the run's cameras are those that the field was fitted to."""
    used: list[PoseRefinement] = []
    monkeypatch.setattr("unscene.jobs.fit.PoseRefinement", lambda *a: used.append(PoseRefinement(*a)) or used[0])
    options = replace(QUICK_FIT, fit=unscene.FitConfig(steps=12, learning_rate=3e-2, warmup_steps=1), refine_poses=True)
    log: list[Event] = []
    run = unscene.fit(scene, tmp_path / "run", options, watch=log.append)
    given, every = scene.cameras.T_world_camera, torch.arange(len(scene))
    refined = used[0](given, every).detach()
    moved_by = (refined - given).abs().amax((1, 2))
    assert (moved_by[scene.train] > 1e-5).all() and (moved_by[scene.test] == 0).all()
    torch.testing.assert_close(run.cameras.T_world_camera, refined)
    torch.testing.assert_close(unscene.open_run(run.folder).cameras.T_world_camera, refined, atol=1e-5, rtol=0)
    assert any(isinstance(event, Note) and event.text.startswith("poses refined: ") for event in log)


# What `remove` leaves


def test_remove_leaves_everything_it_promises(removed: Run) -> None:
    files = files_below(removed.folder)
    promised = {"config.json", "events.jsonl", "metrics.json", "report.html", "video.mp4", "scene.ply"}
    assert promised | {"dataset/transforms.json", "renders/006.png", "renders/007.png"} <= files
    assert {f"dataset/images/{view:03}.png" for view in range(8)} <= files
    assert any(name.startswith("checkpoint/") for name in files)
    assert not [name for name in files if "partial" in name or ".old" in name]
    config = json.loads((removed.folder / "config.json").read_text())
    assert config["job"] == "remove" and config["prior"] == "exemplar"
    assert config["options"]["in_n_out"]["own_weight"] == 0.2
    for line in (removed.folder / "events.jsonl").read_text().splitlines():
        assert json.loads(line)["event"] in {
                "StageStarted", "StepDone", "ItemDone", "StageDone", "Note", "Provenance",
            }  # fmt: skip


def test_the_cleaned_data_set_loads_again(removed: Run, scene: Scene) -> None:
    cleaned = unscene.load_scene(removed.folder / "dataset")
    assert cleaned.masks is None and cleaned.names == scene.names
    assert torch.equal(cleaned.train, scene.train) and torch.equal(cleaned.test, scene.test)
    for name in ("T_world_camera", "focal", "principal", "distortion"):
        torch.testing.assert_close(getattr(cleaned.cameras, name), getattr(scene.cameras, name), atol=1e-6, rtol=1e-6)
    outside = ~masks_of(scene, MARGIN)
    assert torch.equal(cleaned.images[outside], scene.images[outside])


def test_the_object_is_gone_from_the_data_set(removed: Run, scene: Scene, traced: BoxScene) -> None:
    cleaned = unscene.load_scene(removed.folder / "dataset")
    mask, truth = masks_of(scene), torch.from_numpy(np.stack([_half(image) for image in traced.truth.numpy()]))
    with_box, without = (psnr(images[mask], truth[mask]) for images in (scene.images, cleaned.images))
    assert without > with_box + 5


def test_masks_grow_in_test_views_too(removed: Run, scene: Scene) -> None:
    """The object's rim, which masks tend to miss, must not stay in any view of the cleaned data set."""
    cleaned = unscene.load_scene(removed.folder / "dataset")
    rim = masks_of(scene, MARGIN) & ~masks_of(scene)
    for views in (scene.train, scene.test):
        changed = (cleaned.images[views] != scene.images[views]).any(-1)
        assert changed[rim[views]].float().mean() > 0.8


def test_the_video_decodes(removed: Run) -> None:
    frames = imageio.imread(removed.folder / "video.mp4", plugin="FFMPEG")
    assert frames.shape == (4, 36, 48, 3)
    assert frames.std() > 10


def test_the_points_lie_on_the_surfaces_in_world_coordinates(removed: Run, traced: BoxScene) -> None:
    cloud = trimesh.load(removed.folder / "scene.ply")
    assert isinstance(cloud, trimesh.PointCloud)
    points = torch.from_numpy(np.asarray(cloud.vertices)).float()
    assert 1000 < len(points) <= POINTS
    # nothing stands in the empty room: every point in a view's frustum must be on the wall that the view sees there
    cameras, depth = traced.scene.cameras, traced.depth
    for view in (0, 3, 7):
        xy, z = cameras.project(torch.full((len(points),), view), points)
        inside = (xy >= 0).all(-1) & (xy[:, 0] < cameras.width) & (xy[:, 1] < cameras.height) & (z > 0)
        assert inside.float().mean() > 0.3
        column, row = xy[inside].long().unbind(-1)
        assert (z[inside] / depth[view, row, column] - 1).abs().median() < 0.3
    colors = np.asarray(cloud.colors)[:, :3]
    assert colors.shape == (len(points), 3) and colors.std(0).min() > 20


def test_the_report_shows_the_run(removed: Run) -> None:
    page = (removed.folder / "report.html").read_text()
    assert "room without the object" in page and "exemplar" in page
    assert page.count("data:image/jpeg;base64,") > 6 and "data:video/mp4;base64," in page


@pytest.mark.parametrize("fill", ["unseen", "mask"])
def test_the_naive_baseline_leaves_the_same(scene: Scene, tmp_path: Path, fill: str) -> None:
    options = replace(
        QUICK_REMOVE, method="naive", prior="telea", fill=fill, naive=NaiveConfig(nerf=TINY_NERF, fit=QUICK, rays=64)
    )
    run = unscene.remove(scene.with_holdout(0), tmp_path / "run", options)
    assert {"report.html", "scene.ply", "dataset/transforms.json", "renders/000.png"} <= files_below(run.folder)
    said = (run.folder / "events.jsonl").read_text(encoding="utf-8")
    assert ("--fill unseen has no say" in said) == (fill == "unseen")


def test_spin_nerf_leaves_the_same_and_shows_what_it_inpainted(scene: Scene, tmp_path: Path) -> None:
    loss = InpaintedViewsConfig(rays=64, patch=16)
    config = SpinNerfConfig(nerf=TINY_NERF, with_object=QUICK, fit=QUICK, object_rays=64, loss=loss)
    options = replace(QUICK_REMOVE, method="spin-nerf", prior="telea", spin_nerf=config)
    run = unscene.remove(scene.with_holdout(0), tmp_path / "run", options)
    assert {"report.html", "scene.ply", "dataset/transforms.json", "renders/000.png"} <= files_below(run.folder)
    assert {"previews/inpainted-003.png", "previews/disparity-003.png"} <= files_below(run.folder)  # of eight
    assert "spin-nerf" in (run.folder / "report.html").read_text()


def test_inpaint_nerf360_leaves_the_same_and_shows_what_it_inpainted(scene: Scene, tmp_path: Path) -> None:
    loss = InpaintedViewsConfig(rays=64, patch=16, perceptual_from=0.0, patches_move_surfaces=True)
    config = InpaintNerf360Config(nerf=TINY_NERF, reconstruction=QUICK, fit=QUICK, rays=64, loss=loss)
    options = replace(QUICK_REMOVE, method="inpaint-nerf360", prior="telea", fill="mask", inpaint_nerf360=config)
    run = unscene.remove(scene.with_holdout(0), tmp_path / "run", options)
    assert {"report.html", "scene.ply", "dataset/transforms.json", "renders/000.png"} <= files_below(run.folder)
    assert "inpaint-nerf360" in (run.folder / "report.html").read_text()


def test_infusion_leaves_the_same_and_shows_its_reference(scene: Scene, tmp_path: Path) -> None:
    config = InfusionConfig(nerf=TINY_NERF, reconstruction=QUICK, fine_tuning=QUICK, rays=64, reference="003")
    options = replace(QUICK_REMOVE, method="infusion", prior="telea", fill="mask", infusion=config)
    run = unscene.remove(scene.with_holdout(0), tmp_path / "run", options)
    assert {"report.html", "scene.ply", "dataset/transforms.json", "renders/000.png"} <= files_below(run.folder)
    assert "previews/reference-003.png" in files_below(run.folder)
    assert "reference view: 003.png" in (run.folder / "report.html").read_text()
    wrong = replace(options, infusion=replace(config, reference="none"))
    with pytest.raises(MethodError, match=r"--infusion\.reference"):
        unscene.remove(scene.with_holdout(0), tmp_path / "none", wrong)
    assert not (tmp_path / "none").exists()


def test_inpaint3d_leaves_the_same_and_takes_the_bundled_model(scene: Scene, tmp_path: Path) -> None:
    config = Inpaint3dConfig(nerf=TINY_NERF, reconstruction=QUICK, distillation=QUICK, rays=64, window=32)
    options = replace(QUICK_REMOVE, method="inpaint3d", prior=None, fill="mask", inpaint3d=config)
    assert options.chosen_prior == "bundled"
    run = unscene.remove(scene.with_holdout(0), tmp_path / "run", options)
    assert {"report.html", "scene.ply", "dataset/transforms.json", "renders/000.png"} <= files_below(run.folder)
    assert "score distillation" in (run.folder / "report.html").read_text()
    with pytest.raises(PriorError, match="expected a diffusion prior"):
        unscene.remove(scene.with_holdout(0), tmp_path / "none", replace(options, prior="telea"))
    assert not (tmp_path / "none").exists()


def test_nerfiller_chooses_its_prior_and_shows_the_updates(scene: Scene, tmp_path: Path) -> None:
    update = JointUpdateConfig(every=1, views=2, strongest=0.1, weakest=0.1)
    config = NerfillerConfig(
        nerf=TINY_NERF, reconstruction=QUICK, training=replace(QUICK, steps=2), rays=64, patch=8, update=update
    )
    options = replace(QUICK_REMOVE, method="nerfiller", prior=None, nerfiller=config, fill="mask")
    run = unscene.remove(scene, tmp_path / "run", options)
    assert json.loads((run.folder / "config.json").read_text())["prior"] == "bundled-diffusion"
    assert {"report.html", "scene.ply", "dataset/transforms.json"} <= files_below(run.folder)
    assert "nerfiller" in (run.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"prior": "telea"}, "nerfiller: expected a diffusion prior"),
        ({"nerfiller": NerfillerConfig(update=JointUpdateConfig(every=0))}, r"--nerfiller\.update\.every: expected"),
    ],
)
def test_nerfiller_refuses_before_it_writes(scene: Scene, tmp_path: Path, change: dict, told: str) -> None:
    options = replace(QUICK_REMOVE, **({"method": "nerfiller", "prior": None} | change))
    with pytest.raises(ValueError, match=told):
        unscene.remove(scene, tmp_path / "run", options)
    assert not (tmp_path / "run").exists()


def test_remove_with_the_bundled_prior(scene: Scene, tmp_path: Path) -> None:
    notes = []
    config = replace(IN_N_OUT, reconstruction=QUICK, candidates=1)
    run = unscene.remove(
        scene.subset(torch.tensor([0, 3, 6])), tmp_path / "run",
        replace(QUICK_REMOVE, prior="bundled", in_n_out=config, fill="mask"),
        watch=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
    )  # fmt: skip
    assert any("inpainted views" in note for note in notes)
    assert json.loads((run.folder / "config.json").read_text())["prior"] == "bundled-diffusion"


SHORT = unscene.FitConfig(steps=2, checkpoint_seconds=0)
TAUGHT = CustomizationConfig(CustomizeConfig(rank=2, batch=2, crop=48), fit=SHORT)


def test_a_prior_taught_the_scene_removes_and_is_kept(scene: Scene, tmp_path: Path) -> None:
    options = replace(QUICK_REMOVE, prior="bundled", customize=True, customization=TAUGHT, video_frames=0)
    notes: list[str] = []
    run = unscene.remove(scene, tmp_path / "run", options, watch=lambda e: notes.append(getattr(e, "text", "")))
    assert any("customised to the scene" in note for note in notes)
    kept = run.folder / "customization"
    assert {file.name for file in kept.iterdir()} == {"pytorch_lora_weights.safetensors", "scene_token.safetensors"}
    diffusion = DiffusionConfig(customization=kept)
    assert "<scene>" in load_prior("bundled", diffusion).prompt  # pyright: ignore[reportAttributeAccessIssue]


def test_mald_nerf_chooses_and_teaches_its_prior_and_shows_the_updates(scene: Scene, tmp_path: Path) -> None:
    """Nothing but the method is asked for."""
    config = MaldNerfConfig(
        nerf=TINY_NERF, reconstruction=QUICK, training=replace(QUICK, steps=12), rays=64, patch=16,
        most_views=2, update=UpdateConfig(every=4),
    )  # fmt: skip
    options = replace(
        QUICK_REMOVE, method="mald-nerf", prior=None, mald_nerf=config, customization=TAUGHT, fill="mask",
        diffusion=DiffusionConfig(steps=2),
    )  # fmt: skip
    run = unscene.remove(scene, tmp_path / "run", options)
    assert json.loads((run.folder / "config.json").read_text())["prior"] == "bundled-diffusion"
    files = files_below(run.folder)
    assert {
        "customization/scene_token.safetensors",
        "previews/update-000-00.png",
        "previews/update-000-01.png",
    } <= files
    page = (run.folder / "report.html").read_text()
    assert (
        "novel view 3" in page
        and "update 000 01" in page
        and "the discriminator" in page
        and "views inpainted again" in page
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"prior": "telea"}, "expected a diffusion prior"),
        ({"mald_nerf": MaldNerfConfig(update=UpdateConfig(every=0))}, r"--mald-nerf\.update\.every: expected"),
    ],
)
def test_mald_nerf_refuses_before_it_writes(scene: Scene, tmp_path: Path, change: dict, told: str) -> None:
    """So that the mended command needs no other folder."""
    options = replace(QUICK_REMOVE, **({"method": "mald-nerf", "prior": None} | change))
    with pytest.raises(ValueError, match=told):
        unscene.remove(scene, tmp_path / "run", options)
    assert not (tmp_path / "run").exists()


def test_customize_writes_what_remove_would(scene: Scene, tmp_path: Path, report_every_step: None) -> None:
    options = CustomizeOptions(customization=TAUGHT)
    first = customize(scene, tmp_path / "a", options)

    class Kill(Exception):
        pass

    def kill(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 2:
            raise Kill

    with pytest.raises(Kill):
        customize(scene, tmp_path / "b", options, watch=kill)
    second = customize(scene, tmp_path / "b", options, resume=True)
    for name in ("pytorch_lora_weights.safetensors", "scene_token.safetensors"):
        a, b = load_file(str(first / name)), load_file(str(second / name))
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_only_diffusion_priors_can_be_taught(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="expected a diffusion prior, got 'exemplar'"):
        unscene.remove(scene, tmp_path / "run", replace(QUICK_REMOVE, customize=True))
    with pytest.raises(PriorError, match="expected a diffusion prior, got 'telea'"):
        customize(scene, tmp_path / "run", CustomizeOptions(prior="telea"))
    assert not (tmp_path / "run").exists()


def write_inpaintings(scene: Scene, folder: Path, views: list[int]) -> Path:
    """Grey in place of the object, as some other tool might leave it."""
    folder.mkdir()
    for view in views:
        assert scene.masks is not None
        image = torch.where(scene.masks[view][..., None], 0.5, scene.image(view))
        pixels = (image * 255).round().byte().numpy()
        cv2.imwrite(str(folder / f"{Path(scene.names[view]).stem}.png"), pixels[..., ::-1])
    return folder


@pytest.mark.parametrize("count", [1, 4])
def test_inpaintings_made_elsewhere_are_used_as_they_are(scene: Scene, tmp_path: Path, count: int) -> None:
    views = scene.train.tolist()[:count]
    folder = write_inpaintings(scene, tmp_path / "inpainted", views)
    notes: list[str] = []
    options = replace(QUICK_REMOVE, prior=f"files:{folder}", fill="mask")
    unscene.remove(scene, tmp_path / "run", options, watch=lambda e: notes.append(getattr(e, "text", "")))
    assert any(f"stage 3 learns from {count} inpaintings" in note for note in notes)
    chosen = next(note for note in notes if note.startswith("base view: "))
    assert any(scene.names[view] in chosen for view in views)


def test_a_depth_network_is_asked_about_the_base_view_and_named(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Network:
        def estimate(self, image: Tensor) -> Estimate:
            asked.append(image.shape)
            return Estimate(torch.rand(image.shape[:2], generator=torch.Generator().manual_seed(0)), True, "a network")

    monkeypatch.setattr("unscene.priors.depth.network.DepthNetwork.load", lambda source, device: Network())
    notes: list[str] = []
    options = replace(QUICK_REMOVE, depth="zoedepth", fill="mask")
    unscene.remove(scene, tmp_path / "run", options, watch=lambda e: notes.append(getattr(e, "text", "")))
    assert asked == [(scene.cameras.height, scene.cameras.width, 3)]
    assert "depth behind the object: a network, aligned" in notes


def test_remove_without_masks_tells_where_to_put_them(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"room: expected masks .* masks/, .*--masks"):
        unscene.remove(scene.with_masks(None), tmp_path / "run", QUICK_REMOVE)
    assert not (tmp_path / "run").exists()


# A finished run, opened again


def test_an_opened_run_is_the_one_that_was_kept(removed: Run) -> None:
    again = unscene.open_run(removed.folder)
    assert again.names == removed.names and again.metrics == removed.metrics
    assert torch.equal(again.train, removed.train) and torch.equal(again.test, removed.test)
    render, kept = render_view(again.field, again.cameras, 0), render_view(removed.field, removed.cameras, 0)
    torch.testing.assert_close(render.color, kept.color, atol=1e-3, rtol=0)
    torch.testing.assert_close(render.depth, kept.depth, atol=0, rtol=1e-3)


def test_test_views_are_rendered_under_their_own_names(removed: Run, tmp_path: Path) -> None:
    written = unscene.open_run(removed.folder).render("test", tmp_path / "renders")
    assert [path.name for path in written] == ["006.png", "007.png"]
    for path in written:
        assert (read_png(path).int() - read_png(removed.folder / "renders" / path.name).int()).abs().max() <= 1


def test_a_path_is_rendered_in_frame_order(removed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unscene.results.run.PATH_FRAMES", 3)
    written = removed.render("path", tmp_path / "path")
    assert [path.name for path in written] == ["00000.png", "00001.png", "00002.png"]
    assert not torch.equal(read_png(written[0]), read_png(written[1]))


def test_fields_saved_before_hashing_was_a_choice_open_as_they_were(scene: Scene, tmp_path: Path) -> None:
    xor = {key: replace(getattr(TINY_NERF, key), hashing="xor") for key in ("grid", "proposal_grid")}
    nerf = Nerf.around(scene.cameras, replace(TINY_NERF, **xor), torch.Generator().manual_seed(0))
    folder = RunFolder.create(tmp_path / "run", {"job": "fit"}, resume=False)
    keep_run(folder, nerf, scene)
    saved = json.loads((folder.path / "field.json").read_text())
    for grid in ("grid", "proposal_grid"):
        assert saved[grid].pop("hashing") == "xor"
    (folder.path / "field.json").write_text(json.dumps(saved))
    assert unscene.open_run(folder.path).field.config == nerf.config


def test_cameras_of_a_file_are_in_the_world_of_the_input(
    fitted: Run, elsewhere: Scene, scene: Scene, tmp_path: Path
) -> None:
    """Whatever the fit normalises inside: rotation, translation and scale of the input's world are the file's too."""
    names = [f"{view}.png" for view in range(8)]
    write_frames(tmp_path / "here.json", elsewhere, names)
    write_frames(tmp_path / "there.json", scene, names)  # right for another world, wrong for this one
    run = unscene.open_run(fitted.folder)
    here = run.render(read_cameras(tmp_path / "here.json"), tmp_path / "here")
    there = run.render(read_cameras(tmp_path / "there.json"), tmp_path / "there")
    assert [path.name for path in here] == [f"{view:05}.png" for view in range(8)]
    for view in (0, 3, 7):
        wanted = (render_view(fitted.field, elsewhere.cameras, view).color * 255).round()
        difference = (read_png(here[view]).float() - wanted).abs()
        assert difference.quantile(0.99) <= 1  # rounding of far rays aside
        assert psnr(read_png(here[view]), elsewhere.images[view]) > 15
        assert psnr(read_png(there[view]), elsewhere.images[view]) < 12


def test_resolution_and_lens_may_differ_from_the_photos(removed: Run, tmp_path: Path) -> None:
    cameras = removed.cameras.resized(24, 18)[:1]
    (small,) = removed.render(cameras, tmp_path)
    whole = (render_view(removed.field, removed.cameras, 0).color * 255).round().to(torch.uint8)
    assert read_png(small).shape == (18, 24, 3)
    assert psnr(read_png(small), torch.from_numpy(_half(whole.numpy()))) > 20


def test_evaluate_knows_the_truth_from_the_photos(removed: Run, scene: Scene, traced: BoxScene) -> None:
    stems = ["006", "007"]
    masks = dict(zip(stems, masks_of(scene)[scene.test], strict=True))

    def truth(images: Tensor) -> Truth:
        halves = [torch.from_numpy(_half(image.numpy())).float() / 255 for image in images[-2:]]
        return Truth(dict(zip(stems, halves, strict=True)), masks)

    right, wrong = (unscene.evaluate(removed, truth(images)) for images in (traced.truth, traced.scene.images))
    assert right.views == 2
    assert right.psnr_masked is not None and wrong.psnr_masked is not None
    assert right.psnr_masked > wrong.psnr_masked + 3
    renders = [read_png(removed.folder / "renders" / f"{stem}.png") for stem in stems]
    by_hand = [
        psnr(render, truth(traced.truth).images[stem] * 255) for render, stem in zip(renders, stems, strict=True)
    ]
    assert right.psnr == pytest.approx(np.mean(by_hand), abs=0.05)


def test_evaluate_refuses_truth_of_other_views(removed: Run) -> None:
    with pytest.raises(SceneError, match=r"named like the run's views \(000, \.\.\.\), got left, right"):
        unscene.evaluate(removed, Truth({"right": torch.zeros(36, 48, 3), "left": torch.zeros(36, 48, 3)}, {}))


def test_views_of_two_folders_that_share_file_names_stay_apart(room_with_tests: BoxScene, tmp_path: Path) -> None:
    """As Blender scenes have them: train/r_0.png and test/r_0.png."""
    scene = room_with_tests.scene
    names = (*(f"train/r_{view}.png" for view in range(6)), "test/r_0.png", "test/r_1.png")
    run = unscene.remove(replace(scene, names=names), tmp_path / "run", QUICK_REMOVE)
    written = [path for path in (run.folder / "masks").rglob("*.png")]
    assert len(written) == 8
    truth = unscene.scene_truth(replace(scene, names=names))
    assert unscene.evaluate(unscene.open_run(run.folder), truth).views == 2


# Folders that exist, and runs that go on


def test_an_output_folder_that_is_in_use_is_left_alone(scene: Scene, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    for resume in (False, True):
        with pytest.raises(RunError, match=r"expected a new or empty output folder"):
            unscene.fit(scene, out, QUICK_FIT, resume=resume)
    assert files_below(out) == {"thesis.txt"}


def test_a_finished_run_is_not_overwritten(removed: Run, scene: Scene) -> None:
    with pytest.raises(RunError, match=r"--resume"):
        unscene.remove(scene, removed.folder, REMOVE)


def test_resume_wants_the_settings_the_run_began_with(removed: Run, scene: Scene) -> None:
    with pytest.raises(RunError, match=r"other values for options;"):
        unscene.remove(scene, removed.folder, replace(REMOVE, seed=1), resume=True)
    with pytest.raises(RunError, match=r"other values for options, prior;"):
        unscene.remove(scene, removed.folder, replace(REMOVE, prior="telea"), resume=True)


class Killed(BaseException):
    """Stands for a kill in mid-run."""


def test_a_killed_removal_is_resumed_to_the_end(scene: Scene, tmp_path: Path, report_every_step: None) -> None:
    def kill(event: Event) -> None:
        if isinstance(event, StepDone) and event.stage == "single-view prior":
            raise Killed

    out, options = tmp_path / "run", replace(QUICK_REMOVE, fill="mask")
    with pytest.raises(Killed):
        unscene.remove(scene, out, options, watch=kill)
    with pytest.raises(RunError, match="no field yet"):
        unscene.open_run(out)
    steps = []
    unscene.remove(
        scene, out, options, resume=True, watch=lambda e: steps.append(e.stage) if isinstance(e, StepDone) else None
    )
    assert "reconstruction" not in steps and "joint optimisation" in steps
    assert {"report.html", "scene.ply", "field.safetensors"} <= files_below(out)


def test_resuming_a_finished_fit_changes_nothing(scene: Scene, tmp_path: Path, report_every_step: None) -> None:
    out = tmp_path / "run"
    first = unscene.fit(scene, out, QUICK_FIT)
    before = first.metrics
    again = unscene.fit(scene, out, QUICK_FIT, resume=True)
    assert torch.equal(first.field.grid.table, again.field.grid.table)
    for name in ("psnr", "ssim", "rays_per_second"):
        assert again.metrics[name] == before[name], name


def test_resuming_a_finished_removal_makes_the_results_again(scene: Scene, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = unscene.remove(scene, out, QUICK_REMOVE)
    (out / "report.html").unlink()
    again = unscene.remove(scene, out, QUICK_REMOVE, resume=True)
    assert torch.equal(first.field.grid.table, again.field.grid.table)
    assert (out / "report.html").is_file()
    assert again.metrics["seconds"] >= first.metrics["seconds"]  # of the whole run, not of its last minute


def _half(image: np.ndarray) -> np.ndarray:
    """An image at half its resolution, as `load_scene` makes it."""
    return cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
