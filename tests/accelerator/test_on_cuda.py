"""What only a card can tell: that numbers are those of the processor, and that steps are captured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from tests.fields.test_splat_raster import cameras, gaussians_before
from unscene.fields.hash_grid import HashGrid, HashGridConfig
from unscene.fields.nerf import Nerf
from unscene.fields.splat_raster import SplatCamera, rasterise
from unscene.geometry.gaussians import Gaussians
from unscene.training.captured_steps import WARMUP_STEPS, CapturedSteps, CudaGraphs
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note, StepDone
from unscene.training.fit import FitConfig, fit
from unscene.training.optimizer import Optimizer
from unscene.training.pixels import PixelReconstruction, PixelSampler, RegularizerConfig, training_pixels

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CONFIG = FitConfig(steps=60, checkpoint_seconds=1000)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("hashing", ["xor", "add"])
def test_the_hash_encoding_is_the_processors(hashing: str, summed: bool) -> None:
    config = HashGridConfig(hashing=hashing, log2_table_size=14)
    grid = HashGrid(config, torch.Generator().manual_seed(0), summed=summed)
    with torch.no_grad():
        grid.table.mul_(1e4)
    points = torch.rand(5000, 3, generator=torch.Generator().manual_seed(1))

    def everything(device: str) -> list[Tensor]:
        there, moved = points.to(device).requires_grad_(), grid.to(device)
        encoded = moved(there)
        weights = torch.randn(encoded.shape, generator=torch.Generator().manual_seed(2)).to(device)
        return [t.cpu() for t in (encoded, *torch.autograd.grad(encoded, [there, moved.table], weights))]

    for ours, theirs in zip(everything("cuda"), everything("cpu"), strict=True):
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def objective_of(nerf: Nerf, room: BoxScene) -> PixelReconstruction:
    scene = room.scene.to(nerf.center.device)
    pixels = PixelSampler(scene, training_pixels(scene))
    return PixelReconstruction(nerf, scene.cameras, pixels, RegularizerConfig(), rays=256)


def field(room: BoxScene, device: str) -> Nerf:
    return Nerf.around(room.scene.cameras.to(device), TINY_NERF, torch.Generator().manual_seed(0))


def test_a_step_is_the_processors(room: BoxScene) -> None:
    """Pixels and jitter are drawn by the host's generator on every device."""
    found = []
    for device in ("cpu", "cuda"):
        nerf = field(room, device)
        terms = objective_of(nerf, room)(0, 0.0, torch.Generator().manual_seed(3))
        torch.stack(list(terms.values())).sum().backward()
        found.append([value.detach().cpu() for value in (*terms.values(), *(p.grad for p in nerf.parameters()))])
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).abs().max() <= 1e-3 * theirs.abs().max() + 1e-7


def run(room: BoxScene, nerf: Nerf, checkpoints: Checkpoints, config: FitConfig = CONFIG) -> list[Event]:
    return list(fit("fit", nerf, objective_of(nerf, room), config, checkpoints, rays_per_step=256))


def test_a_fit_is_captured_and_learns(room: BoxScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unscene.training.meter.REPORT_SECONDS", 0.0)
    captures, capture = [], CudaGraphs.capture
    monkeypatch.setattr(CudaGraphs, "capture", lambda self, work: (captures.append(1), capture(self, work))[1])
    events = run(room, field(room, "cuda"), Checkpoints(None, 0))
    assert [event.text for event in events if isinstance(event, Note)] == []
    assert len(captures) == 2  # with and without hash decay, while every step teaches the proposal
    losses = [event.losses["reconstruction"] for event in events if isinstance(event, StepDone)]
    assert len(losses) == 60 and len(set(losses)) == 60  # every replay draws anew
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])


def test_a_replay_is_the_step_it_stands_for(room: BoxScene) -> None:
    """Two fields, the same device numbers: one by graphs, one step by step."""
    fields = [field(room, "cuda"), field(room, "cuda")]
    for index, nerf in enumerate(fields):
        optimizer, objective = Optimizer(nerf.parameters(), 1e-2, captured=True), objective_of(nerf, room)
        generator = torch.Generator("cuda").manual_seed(5)

        def take(step, progress, generator, optimizer=optimizer, objective=objective):
            terms = objective(step, progress, generator)
            optimizer.step_down(torch.stack(list(terms.values())).sum())
            return {name: value.detach() for name, value in terms.items()}

        graphs = CudaGraphs(optimizer.device, generator)
        steps = CapturedSteps(take, objective.kind, graphs, generator, torch.Generator())
        for step in range(3 * WARMUP_STEPS):
            optimizer.set_rate(1e-2 * 0.9**step)
            _ = take(step, 0.0, generator) if index else steps(step, 0.0)
        assert steps.take_note() is None
    for ours, theirs in zip(*(nerf.parameters() for nerf in fields), strict=True):
        # sums by atomics come in any order, and Adam makes much of small differences
        assert (ours - theirs).abs().mean() <= 0.02 * theirs.abs().mean()


def test_a_fit_goes_on_on_another_device(room: BoxScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unscene.training.meter.REPORT_SECONDS", 0.0)
    config, first_steps = replace(CONFIG, checkpoint_seconds=0), []
    for device, last in (("cuda", 10), ("cpu", 25), ("cuda", 60)):
        nerf, steps = field(room, device), []
        events = fit("fit", nerf, objective_of(nerf, room), config, Checkpoints(tmp_path, 0), rays_per_step=256)
        for event in events:
            steps += [event.step] if isinstance(event, StepDone) else []
            if steps and steps[-1] == last:
                break
        events.close()
        first_steps.append(steps[0])
    assert first_steps == [1, 10, 25]  # the step that was being reported had not been saved


def test_steps_do_not_wait_for_the_device(room: BoxScene) -> None:
    """Torch raises for what waits, as far as it knows; the first step may load kernels."""
    nerf = field(room, "cuda")
    objective, optimizer, generator = objective_of(nerf, room), Optimizer(nerf.parameters(), 1e-2), torch.Generator()
    for step in range(12):
        torch.cuda.set_sync_debug_mode("error" if step else "default")
        try:
            optimizer.step_down(torch.stack(list(objective(step, 0.0, generator).values())).sum())
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("degree", [0, 3])
def test_splats_are_the_processors(degree: int) -> None:
    plain = gaussians_before(cameras(), 200, degree)
    extra = torch.randn(200, 2, generator=torch.Generator().manual_seed(1))
    found = []
    for device in ("cpu", "cuda"):
        inputs = [tensor.to(device).requires_grad_() for tensor in (*plain.tensors, extra)]
        render = rasterise(Gaussians(*inputs[:5]), SplatCamera.of(cameras(), 0), inputs[5])
        weights = torch.randn(render.image.shape, generator=torch.Generator().manual_seed(2)).to(device)
        gradients = torch.autograd.grad((render.image * weights).sum() + render.transmittance.sum(), inputs)
        found.append(
            [t.detach().cpu() for t in (render.image, render.transmittance, render.median_depth(), *gradients)]
        )
    for place, (ours, theirs) in enumerate(zip(*found, strict=True)):
        close = (ours - theirs).nan_to_num(0).abs() <= 1e-4 * theirs[theirs.isfinite()].abs().max()
        assert close.float().mean() > 0.999, place  # alphas at a threshold may fall on either side
