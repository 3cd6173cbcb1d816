"""Steps as graphs, with a stand-in for those: which steps are taken, captured and replayed, and with what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unscene.training.captured_steps import WARMUP_STEPS, CapturableObjective, CapturedSteps, Kind, Terms
from unscene.training.checkpoints import Checkpoints, StageRandomness
from unscene.training.events import Event, Note, StepDone
from unscene.training.fit import FitConfig, fit

CONFIG = FitConfig(steps=40, learning_rate=0.05, final_learning_rate=0.005, warmup_steps=3, checkpoint_seconds=0)


class Killed(BaseException):
    """Stands for a kill in mid-run."""


class StandInGraphs:
    """Does at a replay what was to be captured, with the arguments it was captured with."""

    def __init__(self, *_: object):
        self.log: list[str] = []

    def warm_up(self, work: Callable[[], Terms]) -> Terms:
        self.log.append("warm up")
        return work()

    def capture(self, work: Callable[[], Terms]) -> tuple[Callable[[], None], Terms]:
        self.log.append("capture")
        terms: Terms = {}

        def replay() -> None:
            self.log.append("replay")
            terms.update(work())

        return replay, terms


class UselessGraphs(StandInGraphs):
    """Captures nothing."""

    def capture(self, work: Callable[[], Terms]) -> tuple[Callable[[], None], Terms]:
        raise RuntimeError("operation not permitted when stream is capturing\nand more of that")


def captured_steps(graphs: StandInGraphs, kind: Callable[[int], Kind | None]) -> tuple[CapturedSteps, list[int], list]:
    """Steps that note their number and generator."""
    numbers, generators, device, host = [], [], torch.Generator(), torch.Generator()

    def take(step: int, progress: float, generator: torch.Generator) -> Terms:
        numbers.append(step)
        generators.append("device" if generator is device else "host")
        return {"step": torch.tensor(float(step))}

    return CapturedSteps(take, kind, graphs, device, host), numbers, generators


def test_each_kind_is_warmed_up_captured_once_and_replayed() -> None:
    graphs = StandInGraphs()
    steps, numbers, generators = captured_steps(graphs, lambda step: step % 2)
    for step in range(14):
        assert steps(step, 0.0)["step"] in (step, 6, 7)
    once = 2 * WARMUP_STEPS
    assert numbers == [*range(once), *[once, once + 1] * ((14 - once) // 2)]  # a replay knows the step it was made of
    assert graphs.log.count("warm up") == once and graphs.log.count("capture") == 2
    assert set(generators) == {"device"}


def test_what_cannot_be_captured_runs_as_it_comes_with_the_hosts_numbers() -> None:
    graphs = StandInGraphs()
    steps, numbers, generators = captured_steps(graphs, lambda step: None)
    for step in range(8):
        steps(step, 0.0)
    assert numbers == list(range(8)) and set(generators) == {"host"} and graphs.log == []


def test_a_refused_capture_takes_the_step_all_the_same_and_says_why_once() -> None:
    steps, numbers, generators = captured_steps(UselessGraphs(), lambda step: 0)
    for step in range(8):
        steps(step, 0.0)
    assert numbers == list(range(8))
    assert generators == ["device"] * WARMUP_STEPS + ["host"] * (8 - WARMUP_STEPS)
    note = steps.take_note()
    assert note is not None and note.endswith("operation not permitted when stream is capturing")
    assert steps.take_note() is None


def test_after_forgetting_everything_is_captured_again() -> None:
    graphs = StandInGraphs()
    steps, numbers, _ = captured_steps(graphs, lambda step: 0)
    for step in range(6):
        steps(step, 0.0)
    steps.forget()
    for step in range(6, 12):
        steps(step, 0.0)
    assert graphs.log.count("capture") == 2 and numbers[6:] == [6, 7, 8, 9, 9, 9]


class Line(nn.Module):
    """y = slope x + offset; offset is learnt on every second step only."""

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))


class NoisyLine(CapturableObjective):
    """Squared distance to y = 2 x - 1 at random points."""

    def __init__(self, model: Line, *, killed_at: int | None = None):
        self.model, self.killed_at = model, killed_at

    def kind(self, step: int) -> Kind | None:
        if step == self.killed_at:
            raise Killed
        return step % 2

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        if step == self.killed_at:
            raise Killed
        x = torch.randn(16, generator=generator)
        y = 2 * x - 1 + 0.1 * torch.randn(16, generator=generator)
        terms = {"data": (self.model.slope * x + self.model.offset.detach() - y).square().mean()}
        return terms | ({"offset": (self.model.slope.detach() * x + self.model.offset - y).square().mean()}
                        if step % 2 else {})  # fmt: skip


def run(model: Line, checkpoints: Checkpoints, **options) -> list[Event]:
    return list(fit("line", model, NoisyLine(model, **options), CONFIG, checkpoints, rays_per_step=16))


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unscene.training.fit.can_capture", lambda device: True)
    monkeypatch.setattr("unscene.training.fit.CudaGraphs", StandInGraphs)
    monkeypatch.setattr("unscene.training.meter.REPORT_SECONDS", 0.0)


def test_a_fit_by_graphs_is_the_fit_step_by_step(graphs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step size, the moments and the random numbers all go on through replays."""
    replayed, taken = Line(), Line()
    told = [event.losses for event in run(replayed, Checkpoints(None, 5)) if isinstance(event, StepDone)]
    monkeypatch.setattr("unscene.training.fit.can_capture", lambda device: False)
    expected = [event.losses for event in run(taken, Checkpoints(None, 5)) if isinstance(event, StepDone)]
    torch.testing.assert_close(replayed.state_dict(), taken.state_dict())  # step sizes are rounded to single precision
    assert len(told) == len(expected) == 40
    for ours, theirs in zip(told, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("killed_at", [2, 21])
def test_a_resumed_fit_by_graphs_goes_on_bit_for_bit(graphs: None, tmp_path: Path, killed_at: int) -> None:
    whole, before, after = Line(), Line(), Line()
    run(whole, Checkpoints(None, 5))
    with pytest.raises(Killed):
        run(before, Checkpoints(tmp_path, 5), killed_at=killed_at)
    run(after, Checkpoints(tmp_path, 5))
    assert torch.equal(whole.slope, after.slope) and torch.equal(whole.offset, after.offset)


def test_a_fit_goes_on_where_graphs_are_not_to_be_had_and_back(
    graphs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_steps = []
    for killed_at, captures in ((11, True), (25, False), (None, True)):
        monkeypatch.setattr("unscene.training.fit.can_capture", lambda device, captures=captures: captures)
        model, events = Line(), []
        try:
            objective = NoisyLine(model, killed_at=killed_at)
            for event in fit("line", model, objective, CONFIG, Checkpoints(tmp_path, 5), rays_per_step=16):
                events.append(event)
        except Killed:
            pass
        first_steps.append(next(event.step for event in events if isinstance(event, StepDone)))
    assert first_steps == [1, 12, 26]
    whole = Line()
    run(whole, Checkpoints(None, 5))
    assert model.slope.item() == pytest.approx(whole.slope.item(), abs=0.1)  # on other random numbers


def test_a_fit_whose_capture_is_refused_says_so_and_goes_on(graphs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unscene.training.fit.CudaGraphs", UselessGraphs)
    model = Line()
    events = run(model, Checkpoints(None, 5))
    (note,) = [event.text for event in events if isinstance(event, Note)]
    assert "'line': steps are not run as CUDA graphs: operation not permitted" in note
    assert sum(isinstance(event, StepDone) for event in events) == 40


def test_the_state_of_a_card_s_generator_is_passed_over_without_one(tmp_path: Path) -> None:
    """It has 16 bytes, which the processor's generator could not take. The host's numbers go on."""
    checkpoints = Checkpoints(tmp_path, 3)
    before = StageRandomness(checkpoints, "a", None)
    torch.rand(5, generator=before.host)
    state = before.state() | {"device generator": torch.arange(16, dtype=torch.uint8)}
    checkpoints.save("a", state, finished=False, values={"step": 7})
    saved = checkpoints.load("a")
    assert saved is not None
    after = StageRandomness(checkpoints, "a", None)
    after.restore(saved[0], 7)
    assert torch.equal(torch.rand(5, generator=after.host), torch.rand(5, generator=before.host))
    assert after.state().keys() == {"generator"}


def test_a_stage_saved_beside_a_card_is_finished_without_one(tmp_path: Path) -> None:
    config = FitConfig(steps=20, checkpoint_seconds=0)
    model, checkpoints = Line(), Checkpoints(tmp_path, 5)
    with pytest.raises(Killed):
        list(fit("line", model, NoisyLine(model, killed_at=10), config, checkpoints, rays_per_step=16))
    saved = checkpoints.load("line")
    assert saved is not None
    card = {"device generator": torch.arange(16, dtype=torch.uint8)}
    checkpoints.save("line", saved[0] | card, finished=False, values=saved[1])
    resumed, whole = Line(), Line()
    list(fit("line", resumed, NoisyLine(resumed), config, checkpoints, rays_per_step=16))
    list(fit("line", whole, NoisyLine(whole), config, Checkpoints(None, 5), rays_per_step=16))
    assert torch.equal(resumed.slope, whole.slope) and torch.equal(resumed.offset, whole.offset)


def test_a_generator_that_was_not_saved_is_made_anew() -> None:
    checkpoints = Checkpoints(None, 3)
    saved = StageRandomness(checkpoints, "a", None).state()
    ones = []
    for step in (7, 7, 8):
        random = StageRandomness(checkpoints, "a", torch.device("cpu"))
        random.restore(saved, step)
        assert random.device is not None
        ones.append(torch.rand((), generator=random.device).item())
    assert ones[0] == ones[1] != ones[2] and ones[0] != torch.rand((), generator=checkpoints.generator("a")).item()
