"""The optimisation loop: it converges, resumes bit for bit, names what diverged and skips what is finished."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unscene.training.checkpoints import Checkpoints
from unscene.training.events import StageDone, StageStarted, StepDone
from unscene.training.fit import DivergedError, FitConfig, Objective, fit

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
    monkeypatch.setattr("unscene.training.fit.REPORT_SECONDS", 0.0)
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


def test_the_extra_module_is_part_of_the_state(tmp_path: Path) -> None:
    model, extra = Line(), nn.BatchNorm1d(2)

    def killed_objective(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        if step == 5:
            raise Killed
        extra(torch.randn(4, 2, generator=generator))
        return {"data": model(torch.ones(1)).square().sum()}

    with pytest.raises(Killed):
        run(model, killed_objective, Checkpoints(tmp_path, 0), extra=extra)
    restored = nn.BatchNorm1d(2)
    model_after = Line()
    run(model_after, noisy_line(model_after), Checkpoints(tmp_path, 0), extra=restored)
    assert restored.num_batches_tracked == 5
    assert restored.running_mean is not None and extra.running_mean is not None
    assert torch.equal(restored.running_mean, extra.running_mean)


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
