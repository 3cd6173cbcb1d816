"""Presets: the papers' values, what a run departs from them in, and how the command line takes both."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import get_args

import pytest
import torch

import unscene
from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from tests.priors.tiny_checkpoints import tiny_pipeline
from unscene import commands
from unscene.jobs.orbit_options import OrbitMethod, OrbitOptions
from unscene.jobs.presets import orbit_deviations, orbit_preset, removal_deviations, removal_preset
from unscene.jobs.remove_options import MethodName, RemoveOptions
from unscene.methods import METHODS, InNOutConfig
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.stages.patches import PatchConfig
from unscene.training.events import Note
from unscene.training.fit import FitConfig


def test_the_paper_departs_from_itself_in_nothing() -> None:
    for method in METHODS:
        assert removal_deviations(removal_preset("paper", method)) == []  # pyright: ignore[reportArgumentType]


def test_every_method_has_settings_a_name_and_a_paper() -> None:
    assert set(get_args(MethodName)) == set(METHODS)
    for method in METHODS:
        settings = RemoveOptions(method=method).settings  # pyright: ignore[reportArgumentType]
        assert type(settings.paper()) is type(settings)


def test_in_n_outs_paper_is_what_paper_and_release_state() -> None:
    options = removal_preset("paper", "in-n-out")
    paper = options.in_n_out
    assert (options.prior, options.depth, options.perceptual) == ("sd-2", "depth-anything-v2", "lpips-vgg")
    assert (options.fill, options.mask_margin) == ("mask", 0)
    diffusion = options.diffusion
    assert (diffusion.strength, diffusion.guidance, diffusion.steps) == (0.9, 7.5, 20)
    assert [stage.steps for stage in (paper.reconstruction, paper.prior, paper.joint)] == [5000, 5000, 5000]
    assert (paper.rays, paper.known_rays, paper.pixel_error, paper.restart) == (4096, 4096, "squared", True)
    assert (paper.candidates, paper.candidate_spacing, paper.base_strength) == (5, 3, 1.0)
    adversary = paper.patch.adversary
    assert (paper.patch.size, adversary.tiles, adversary.penalty_every, paper.patch.weight) == (256, 4, 1, 0.01)
    assert (paper.own_weight, paper.subset, paper.groups, paper.alternate) == (0.2, 0.5, (2, 2, 3), 10)


def test_adams_step_size_falls_as_over_the_release_s_200_000_steps() -> None:
    stage = InNOutConfig.paper().reconstruction
    assert stage.steps is not None
    per_step = math.log(stage.learning_rate / stage.final_learning_rate) / stage.steps
    assert per_step == pytest.approx(math.log(1e-2 / 1e-4) / 200_000)


def test_a_changed_setting_is_told_under_its_option_beside_the_papers() -> None:
    options = removal_preset("paper", "in-n-out")
    changed = dataclasses.replace(options, fill="unseen", in_n_out=dataclasses.replace(options.in_n_out, ela=False))
    told = [(each.option, each.here, each.paper) for each in removal_deviations(changed)]
    assert told == [("fill", "unseen", "mask"), ("in-n-out.ela", "off", "on")]


def test_the_laptop_departs_in_what_it_has_of_its_own() -> None:
    told = {each.option: (each.here, each.paper) for each in removal_deviations(RemoveOptions())}
    assert told["prior"] == ("guided-exemplar", "sd-2")
    assert told["in-n-out.pixel-error"] == ("charbonnier", "squared")
    assert "in-n-out.own-weight" not in told and "naive.rays" not in told


def test_splats_are_taken_where_they_suit_and_nothing_else_was_asked_for() -> None:
    processor, rays = torch.device("cpu"), InNOutConfig(joint_prior_rays=7)
    laptop = removal_preset("laptop", "in-n-out")
    assert laptop.chosen_field(processor) == "splats" and laptop.chosen_field(torch.device("cuda")) == "nerf"
    for other in (
        removal_preset("paper", "in-n-out"), removal_preset("laptop", "infusion"),
        dataclasses.replace(laptop, clean=True), dataclasses.replace(laptop, in_n_out=rays),
        dataclasses.replace(laptop, field="nerf"),
    ):  # fmt: skip
        assert other.chosen_field(processor) == "nerf"
    assert dataclasses.replace(laptop, in_n_out=rays).settings_of_rays == ["--in-n-out.joint-prior-rays"]
    assert dataclasses.replace(laptop, in_n_out=InNOutConfig(restart=True)).settings_of_rays == ["--in-n-out.restart"]
    for method in METHODS:
        assert not removal_preset("paper", method).settings_of_rays  # which nobody has changed
    plain = dataclasses.replace(laptop, in_n_out=InNOutConfig(most_views=5))
    assert plain.chosen_field(processor) == "splats"


def test_an_orbits_paper_puts_no_pixels_over_the_view() -> None:
    paper = orbit_preset("paper", "invs")
    assert (paper.depth, paper.contamination, paper.invs.reuse_angle, paper.invs.strength) == ("zoedepth", 0.3, 0, 1)
    assert (paper.turn, orbit_preset("laptop", "invs").turn) == ("independent", "agreeing")
    ours = [each.option for each in orbit_deviations(OrbitOptions())]
    assert ours == ["depth", "contamination", "turn", "invs.strength", "invs.reuse-angle"]
    assert orbit_preset("paper", "zero123").zero123.steps == 75
    for method in get_args(OrbitMethod):
        assert orbit_deviations(orbit_preset("paper", method)) == []


def test_an_orbits_preset_and_method_are_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[OrbitOptions] = []

    def orbit(photo: object, out: object, options: OrbitOptions, **_: object) -> None:
        given.append(options)
        raise InterruptedError

    monkeypatch.setattr(commands, "orbit", orbit)
    with pytest.raises(InterruptedError):
        commands.run("orbit", ["example", "--out", "x", "--preset", "paper", "--method=zero123", "--frames", "3"])
    assert given == [dataclasses.replace(orbit_preset("paper", "zero123"), frames=3)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RemoveOptions]:
    """The options that removals were asked for, which then end."""
    options: list[RemoveOptions] = []

    def remove(scene: object, out: object, given: RemoveOptions, **_: object) -> None:
        options.append(given)
        raise InterruptedError

    monkeypatch.setattr(commands, "remove", remove)
    return options


@pytest.mark.parametrize("method", ["in-n-out", "mald-nerf"])
def test_a_preset_sets_what_is_not_given_and_an_option_wins(asked: list[RemoveOptions], method: MethodName) -> None:
    arguments = ["--method", method, "--preset", "paper", "--fill", "unseen", "--in-n-out.own-weight", "0.3"]
    with pytest.raises(InterruptedError):
        commands.run("demo", arguments)
    paper = removal_preset("paper", method)
    own = dataclasses.replace(paper.in_n_out, own_weight=0.3)
    assert asked == [dataclasses.replace(paper, fill="unseen", in_n_out=own)]


def test_without_a_preset_the_demo_is_its_own(asked: list[RemoveOptions]) -> None:
    for arguments in ([], ["--preset=laptop"]):
        with pytest.raises(InterruptedError):
            commands.run("demo", arguments)
    assert asked == [commands.DEMO, commands.DEMO]


@pytest.mark.parametrize("arguments", [["--preset", "letter"], ["--preset"], ["--preset", "paper", "--method", "mine"]])
def test_tyro_complains_of_what_is_no_preset(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        commands.run("demo", arguments)
    assert "--preset" in (said := capsys.readouterr().err) or "--method" in said


def test_a_report_names_preset_departures_and_what_made_the_picture(
    room_with_tests: BoxScene, tmp_path, one_thread: None
) -> None:  # fmt: skip
    quick = FitConfig(steps=2)
    settings = dataclasses.replace(
        InNOutConfig.paper(), nerf=TINY_NERF, reconstruction=quick, prior=quick, joint=quick, rays=64, known_rays=64,
        prior_rays=64, joint_prior_rays=64, candidates=2, patch=PatchConfig(size=16),
    )  # fmt: skip
    options = dataclasses.replace(
        removal_preset("paper", "in-n-out"), prior="exemplar", depth="field", perceptual="oriented-energies",
        diffusion=DiffusionConfig(), in_n_out=settings, video_frames=0, device="cpu",
    )  # fmt: skip
    run = unscene.remove(room_with_tests.scene, tmp_path / "run", options)
    page = (run.folder / "report.html").read_text()
    assert "In what this run departs from the paper" in page
    assert "in-n-out.reconstruction.steps" in page and ">5000<" in page
    assert "nerfacto" in page  # what no setting changes
    assert "preset paper" in page and "the base view&#39;s picture: " in page
    assert "patches are compared by: distance in oriented energies" in page


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of Stable Diffusion 2's layout, its networks shrunk and random."""
    folder = tmp_path_factory.mktemp("models") / "sd-2"
    tiny_pipeline("sd-2").save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_runs_with_its_papers_values(
    method: MethodName, room: BoxScene, stable_diffusion: str, tmp_path: Path, one_thread: None
) -> None:  # fmt: skip
    """All of them but the number of steps, the field's size and the networks that no folder here has."""
    paper = removal_preset("paper", method)
    small = {"nerf": TINY_NERF} | ({"depth_completion": None} if method == "infusion" else {})
    settings = dataclasses.replace(paper.settings, **small)
    diffusion = dataclasses.replace(paper.diffusion, steps=2)
    options = dataclasses.replace(
        paper, prior=stable_diffusion, depth="field", perceptual="oriented-energies", diffusion=diffusion,
        effort=2 / 10_000, video_frames=0, device="cpu", **{method.replace("-", "_"): settings},
    )  # fmt: skip
    notes: list[str] = []
    run = unscene.remove(
        room.scene.subset(torch.tensor([0, 2, 5])), tmp_path / "run", options,
        watch=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
    )  # fmt: skip
    assert any(note.startswith("preset paper: ") for note in notes)
    assert (run.folder / "report.html").is_file() and (run.folder / "dataset" / "transforms.json").is_file()
