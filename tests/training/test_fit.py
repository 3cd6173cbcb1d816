"""The optimisation loop: it converges, resumes bit for bit, names what diverged and skips what is finished."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Note, StageDone, StageStarted, StepDone
from unscene.training.fit import MOST_ROLLBACKS, Companion, DivergedError, FitConfig, Objective, fit
from unscene.training.optimizer import Optimizer

CONFIG = FitConfig(steps=30, learning_rate=0.05, final_learning_rate=0.005, warmup_steps=3, checkpoint_seconds=0)


class Killed(BaseException):
    """Stands for a kill in mid-run."""


class Line(nn.Module):
    """y = slope x + offset."""

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x + self.offset


def noisy_line(model: Line, *, killed_at: int | None = None) -> Objective:
    """Squared distance to y = 2 x - 1 at random points."""

    def objective(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        if step == killed_at:
            raise Killed
        x = torch.randn(16, generator=generator)
        y = 2 * x - 1 + 0.1 * torch.randn(16, generator=generator)
        return {"data": (model(x) - y).square().mean(), "decay": 1e-3 * model.slope.square()}

    return objective


def run(model: Line, objective: Objective, checkpoints: Checkpoints, config: FitConfig = CONFIG, **more) -> list:
    return list(fit("line", model, objective, config, checkpoints, rays_per_step=16, **more))


def test_the_loss_goes_down_to_the_solution() -> None:
    model = Line()
    run(model, noisy_line(model), Checkpoints(None, 0), FitConfig(steps=500, learning_rate=0.05))
    assert model.slope.item() == pytest.approx(2, abs=0.05) and model.offset.item() == pytest.approx(-1, abs=0.05)


def test_events_frame_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unscene.training.meter.REPORT_SECONDS", 0.0)
    model = Line()
    first, *reports, last = run(model, noisy_line(model), Checkpoints(None, 0))
    assert first == StageStarted("line") and isinstance(last, StageDone) and last.stage == "line"
    assert all(isinstance(report, StepDone) and set(report.losses) == {"data", "decay"} for report in reports)
    assert [report.step for report in reports] == list(range(1, 31))
    assert all(report.rays_per_second > 0 for report in reports)
    assert reports[-1].losses["data"] < reports[0].losses["data"]


@pytest.mark.parametrize("killed_at", [1, 7, 29])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path: Path, killed_at: int) -> None:
    whole, before, after = Line(), Line(), Line()
    run(whole, noisy_line(whole), Checkpoints(None, 5))
    with pytest.raises(Killed):
        run(before, noisy_line(before, killed_at=killed_at), Checkpoints(tmp_path, 5))
    with torch.no_grad():
        after.slope.fill_(99.0)  # must come from the checkpoint
    steps = []
    objective = noisy_line(after)

    def counted(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        steps.append(step)
        return objective(step, progress, generator)

    run(after, counted, Checkpoints(tmp_path, 5))
    assert steps == list(range(killed_at, 30))
    assert torch.equal(whole.slope, after.slope) and torch.equal(whole.offset, after.offset)


def test_another_seed_is_another_run() -> None:
    models = [Line(), Line()]
    for seed, model in enumerate(models):
        run(model, noisy_line(model), Checkpoints(None, seed))
    assert not torch.equal(models[0].slope, models[1].slope)


class Normalized(Companion):
    """A companion with buffers that change."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)


def test_the_companion_is_part_of_the_state(tmp_path: Path) -> None:
    model, extra = Line(), Normalized()

    def killed_objective(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        if step == 5:
            raise Killed
        extra.norm(torch.randn(4, 2, generator=generator))
        return {"data": model(torch.ones(1)).square().sum()}

    with pytest.raises(Killed):
        run(model, killed_objective, Checkpoints(tmp_path, 0), companion=extra)
    restored = Normalized()
    model_after = Line()
    run(model_after, noisy_line(model_after), Checkpoints(tmp_path, 0), companion=restored)
    assert restored.norm.num_batches_tracked == 5
    assert restored.norm.running_mean is not None and extra.norm.running_mean is not None
    assert torch.equal(restored.norm.running_mean, extra.norm.running_mean)


def test_a_finished_stage_is_restored_and_not_run_again(tmp_path: Path) -> None:
    model, other = Line(), Line()
    run(model, noisy_line(model), Checkpoints(tmp_path, 0))
    assert run(other, noisy_line(other, killed_at=0), Checkpoints(tmp_path, 0)) == []
    assert torch.equal(model.slope, other.slope)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_divergence_names_the_term_and_leaves_the_model_alone(value: float) -> None:
    model = Line()

    def objective(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        broken = torch.tensor(value if step == 2 else 1.0)
        return {"data": model(torch.ones(1)).square().sum(), "broken": broken * model.offset.exp()}

    with pytest.raises(DivergedError, match=rf"'line' .* step 2: .*broken = {value:g}"):
        run(model, objective, Checkpoints(None, 0))
    assert model.slope.isfinite() and model.offset.isfinite()


@pytest.mark.parametrize("devices", [("cpu",), ()])
def test_a_step_on_no_finite_loss_leaves_weights_that_can_be_learnt_on(
    devices: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Off the processor such losses are found only later; not every device has the fused Adam that passes over them."""
    monkeypatch.setattr("unscene.training.optimizer.FUSED_DEVICES", devices)
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = Optimizer([weight], 0.1)
    for value in (1.0, float("nan"), float("inf"), 1.0):
        optimizer.step_down((weight * value).sum())
    assert weight.isfinite() and weight < 0.9


def test_the_step_size_warms_up_and_decays() -> None:
    """Adam's steps under a constant gradient are as long as the step size."""
    model, positions = Line(), []

    def constant(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        positions.append(model.slope.item())
        return {"data": model.slope * 1.0}

    run(model, constant, Checkpoints(None, 0))
    lengths = -torch.tensor([*positions, model.slope.item()], dtype=torch.float64).diff()
    step = torch.arange(30, dtype=torch.float64)
    wanted = 0.05 * 0.1 ** (step / 30) * ((step + 1) / 3).clamp_max(1)
    torch.testing.assert_close(lengths, wanted, rtol=1e-3, atol=1e-6)


def test_a_time_budget_ends_the_run() -> None:
    model = Line()
    *_, done = run(model, noisy_line(model), Checkpoints(None, 0), FitConfig(seconds=0.1))
    assert 0.1 <= done.seconds < 5


@pytest.mark.parametrize("config", [FitConfig(steps=0), FitConfig(seconds=0.0)])
def test_a_budget_of_nothing_takes_no_step(config: FitConfig) -> None:
    model = Line()
    run(model, noisy_line(model, killed_at=0), Checkpoints(None, 0), config)
    assert model.slope == 0


def test_a_budget_is_required() -> None:
    model = Line()
    with pytest.raises(ValueError, match="steps"):
        run(model, noisy_line(model), Checkpoints(None, 0), FitConfig())


class Tightrope(Companion):
    """Falls at step 12 unless it has been told to be careful often enough; says nothing good of steps 8 and later."""

    def __init__(self, warnings: int, falls_at: int = 12):
        super().__init__()
        self.warnings, self.falls_at, self.told = warnings, falls_at, 0
        self.register_buffer("walked", torch.zeros((), dtype=torch.long))

    def before_step(self, step: int, progress: float, generator: torch.Generator):
        self.walked += 1
        yield Note(f"at {step}")
        if step == self.falls_at and self.told < self.warnings:
            raise DivergedError("fell")

    def is_healthy(self) -> bool:
        return bool(self.walked < 8)

    def calm(self, rollbacks: int) -> None:
        self.told = rollbacks


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_fit_that_diverges_goes_back_to_its_last_good_checkpoint(tmp_path: Path, on_disk: bool) -> None:
    model, companion, straight = Line(), Tightrope(warnings=2), Line()
    events = run(model, noisy_line(model), Checkpoints(tmp_path if on_disk else None, 0), companion=companion)
    notes = [event.text for event in events if isinstance(event, Note)]
    falls = [note for note in notes if note.startswith("fell")]
    assert len(falls) == 2 and "back to step 7" in falls[0] and f"2 of {MOST_ROLLBACKS}" in falls[1]
    assert notes.count("at 7") == 3 and notes.count("at 6") == 1  # step 8 on was walked again, what was good was not
    run(straight, noisy_line(straight), Checkpoints(None, 0))
    assert 0 < model.slope < straight.slope  # a quarter of the step size from there on


def test_what_is_no_number_is_never_saved(tmp_path: Path) -> None:
    """A finite loss with an infinite gradient spoils the weights before the next loss can tell."""
    model, checkpoints = Line(), Checkpoints(tmp_path, 0)

    def objective(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        steep = (model.offset - model.offset.detach()).abs().sqrt() if step == 3 else model.offset.square()
        return {"data": model.slope.square() + steep}

    with pytest.raises(DivergedError):
        run(model, objective, checkpoints)
    saved = checkpoints.load("line")
    assert saved is not None and saved[1]["step"] == 3
    assert all(tensor.isfinite().all() for tensor in saved[0].values())


def test_a_fit_that_diverges_whatever_is_tried_says_so() -> None:
    model = Line()
    with pytest.raises(DivergedError, match="fell"):
        run(model, noisy_line(model), Checkpoints(None, 0), companion=Tightrope(warnings=MOST_ROLLBACKS + 1))


def test_a_first_step_that_fails_has_something_to_go_back_to() -> None:
    model = Line()
    events = run(model, noisy_line(model), Checkpoints(None, 0), companion=Tightrope(warnings=1, falls_at=0))
    assert isinstance(events[-1], StageDone)


def test_care_survives_a_kill(tmp_path: Path) -> None:
    """Rolled back, then killed: the resumed run still knows how careful to be."""
    model = Line()
    with pytest.raises(Killed):
        run(model, noisy_line(model, killed_at=20), Checkpoints(tmp_path, 0), companion=Tightrope(warnings=1))
    again, companion = Line(), Tightrope(warnings=1)
    run(again, noisy_line(again), Checkpoints(tmp_path, 0), companion=companion)
    assert companion.told == 1
