"""The fused functions for processors against the same field in plain torch and double precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tests.fields.reference_hash_grid import ReferenceHashGrid
from unscene.fields import native_field, native_proposal, processor
from unscene.fields.hash_grid import HashGridConfig
from unscene.fields.nerf import Nerf, NerfConfig
from unscene.fields.occupancy import RESOLUTION, pack_cells, unpack_cells
from unscene.fields.processor import level_table
from unscene.geometry.cameras import Rays

BASE = NerfConfig(
    grid=HashGridConfig(levels=8, features=2, coarsest=8, finest=64, log2_table_size=12),
    proposal_grid=HashGridConfig(levels=3, features=1, coarsest=8, finest=32, log2_table_size=10),
    hidden=32,
)
SIZES = {
    "as they come": BASE,
    "few inputs": replace(BASE, grid=replace(BASE.grid, levels=4)),
    "many inputs, wide": replace(BASE, grid=replace(BASE.grid, levels=6, features=4), hidden=64),
    "one feature": replace(BASE, grid=replace(BASE.grid, features=1), hidden=16),
    "few proposal samples": replace(BASE, proposal_samples=7),
    "no view dependence": replace(BASE, view_dependence=False),
}


def field(config: NerfConfig = BASE) -> Nerf:
    """A field whose contents vary from place to place, thin enough that light passes several samples."""
    generator = torch.Generator().manual_seed(0)
    model = Nerf(config, center=torch.tensor([0.3, 0.1, -0.2]), radius=torch.tensor(1.5), generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model


def twin(model: Nerf) -> Nerf:
    """The same field in double precision, with the plain torch encoding: nothing of it can run natively."""
    other = Nerf(model.config, center=model.center, radius=model.radius, generator=torch.Generator())
    other.confine(model.occupancy)
    other.load_state_dict(model.state_dict())
    other.grid, other.proposal_grid = ReferenceHashGrid(other.grid), ReferenceHashGrid(other.proposal_grid)
    return other.double()


def rays(count: int) -> Rays:
    generator = torch.Generator().manual_seed(1)
    directions = normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return Rays(torch.randn(count, 3, generator=generator), directions, torch.ones(count))


def double(some: Rays) -> Rays:
    return Rays(some.origins.double(), some.directions.double(), some.depth_per_distance.double())


def jitter(count: int) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(2))


def random_like(tensor: Tensor) -> Tensor:
    return torch.randn(tensor.shape, generator=torch.Generator().manual_seed(3)).to(tensor)


def error(ours: Tensor, theirs: Tensor) -> float:
    """Of the norm of the difference, relative to the norm."""
    assert ours.shape == theirs.shape
    return ((ours - theirs).norm() / theirs.norm().clamp_min(1e-12)).item()


def proposed_and_seen(model: Nerf, some: Rays, shift: Tensor | None, edges: Tensor | None) -> list[Tensor]:
    """Weights and edges of the proposal, weights, colour and appearance of the field at its edges, or at ``edges``."""
    origins = (some.origins - model.center) / model.radius
    native = model._runs_natively(origins, some.directions)
    propose, look = (model._propose_natively, model._look_natively) if native else (model._propose, model._look)
    proposal, fine = propose(origins, some.directions, shift)
    return [proposal.weights, fine, *look(origins, some.directions, fine if edges is None else edges)]


def gradients(model: Nerf, outputs: list[Tensor]) -> list[Tensor]:
    """Of a random linear function of all outputs but the edges, to everything but the view-dependent network."""
    parameters = [parameter for name, parameter in model.named_parameters() if not name.startswith("view_network")]
    loss = torch.stack([(x * random_like(x)).sum() for x in outputs if x.requires_grad]).sum()
    return list(torch.autograd.grad(loss, parameters))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 17, 300])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("jittered", [True, False], ids=["jittered", "deterministic"])
def test_outputs_and_gradients_match_double_precision(size: str, count: int, jittered: bool) -> None:
    model, shift = field(SIZES[size]), jitter(count) if jittered else None
    assert model._runs_natively(rays(count).origins, rays(count).directions)
    ours = proposed_and_seen(model, rays(count), shift, None)
    reference, same_rays, shift = twin(model), double(rays(count)), None if shift is None else shift.double()
    torch.set_default_dtype(torch.float64)
    try:
        theirs = proposed_and_seen(reference, same_rays, shift, ours[1].double())
    finally:
        torch.set_default_dtype(torch.float32)
    for output, expected in zip(ours, theirs, strict=True):
        assert error(output, expected) < 3e-6  # of intervals far away single precision keeps no more
    for gradient, expected in zip(gradients(model, ours), gradients(reference, theirs), strict=True):
        assert error(gradient, expected) < 1e-5


def test_a_confined_field_matches_double_precision() -> None:
    model = field(SIZES["as they come"])
    cells = torch.rand((RESOLUTION,) * 3, generator=torch.Generator().manual_seed(4)) < 0.5
    model.confine(pack_cells(cells))
    ours = proposed_and_seen(model, rays(300), jitter(300), None)
    free = proposed_and_seen(field(SIZES["as they come"]), rays(300), jitter(300), None)
    assert error(ours[2], free[2]) > 0.1
    reference, same_rays, shift = twin(model), double(rays(300)), jitter(300).double()
    torch.set_default_dtype(torch.float64)
    try:
        theirs = proposed_and_seen(reference, same_rays, shift, ours[1].double())
    finally:
        torch.set_default_dtype(torch.float32)
    # on a cell's face either side may be taken: of the few rays with a sample there, all is different
    agree = torch.stack([(a - b).abs().amax(-1) < 1e-4 for a, b in zip(ours, theirs, strict=True)]).all(0)
    assert agree.float().mean() > 0.95
    loss, expected = (
        torch.stack([(x[agree] * random_like(x)[agree]).sum() for x in (out[0], *out[2:])]).sum()
        for out in (ours, theirs)
    )
    to_ours, to_theirs = (
        torch.autograd.grad(value, [of.grid.table, of.proposal_grid.table])
        for value, of in ((loss, model), (expected, reference))
    )
    for gradient, other in zip(to_ours, to_theirs, strict=True):
        assert error(gradient, other) < 1e-4
    assert (unpack_cells(pack_cells(cells)) == cells).all()


@pytest.mark.parametrize("size", ["as they come", "no view dependence"])
@pytest.mark.parametrize("learns_geometry", [True, False])
def test_rendering_and_its_gradients_are_those_of_the_readable_form(
    size: str, learns_geometry: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render_and_gradients(model: Nerf) -> tuple[list[Tensor], list[Tensor]]:
        render = model.render(rays(500), jitter=jitter(500), learns_geometry=learns_geometry)
        outputs = [render.color, render.distance.log(), render.weights, render.proposals[0].weights]
        loss = torch.stack([(x * random_like(x)).sum() for x in outputs]).sum()
        return outputs, list(torch.autograd.grad(loss, list(model.parameters())))

    fused, composed = field(SIZES[size]), field(SIZES[size])
    monkeypatch.setattr(composed, "_runs_natively", lambda *_: False)
    for ours, theirs in zip(*map(render_and_gradients, (fused, composed)), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            # each places the field's samples by its own proposal
            assert error(one, other) < 1e-4


def test_no_rays_render_to_nothing_and_leave_no_gradient() -> None:
    model = field()
    render = model.render(rays(0), jitter=jitter(0))
    assert render.color.shape == (0, 3) and render.weights.shape == (0, 16)
    (render.color.sum() + render.proposals[0].weights.sum()).backward()
    for parameter in model.parameters():
        assert parameter.grad is None or not parameter.grad.any()


@pytest.mark.usefixtures("threads")
def test_every_thread_count_gives_the_same() -> None:
    model = field()
    torch.set_num_threads(1)
    alone = proposed_and_seen(model, rays(1000), jitter(1000), None)
    alone_gradients = gradients(model, alone)
    for count in (2, 3):
        torch.set_num_threads(count)
        together = proposed_and_seen(model, rays(1000), jitter(1000), None)
        for ours, theirs in zip(together + gradients(model, together), alone + alone_gradients, strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("origin", [float("nan"), float("inf"), -1e30, 1e10])
def test_rays_from_nowhere_stay_inside_the_tables(origin: float) -> None:
    """Other rays are as if they were not there; a NaN is not hidden."""
    model, wild = field(), rays(40)
    wild.origins[3] = origin
    calm = torch.arange(40) != 3
    outputs = proposed_and_seen(model, wild, jitter(40), None)
    expected = proposed_and_seen(model, rays(40), jitter(40), None)
    for ours, theirs in zip(outputs, expected, strict=True):
        assert torch.equal(ours[calm], theirs[calm])
    if origin != origin:
        assert outputs[2][3].isnan().any() and outputs[3][3].isnan().all()
    gradients(model, outputs)  # writes nowhere else


@pytest.mark.parametrize("size", [1e3, 1e20])
def test_gradients_are_finite_for_wild_features(size: float) -> None:
    model = field()
    with torch.no_grad():
        for grid in (model.grid, model.proposal_grid):
            grid.table.sign_().mul_(size)
    outputs = proposed_and_seen(model, rays(100), jitter(100), None)
    for gradient in gradients(model, outputs):
        assert gradient.isfinite().all()


def test_operators_keep_torch_s_contract() -> None:
    model, origins, directions = field(), rays(20).origins, rays(20).directions
    near, span = 0.05, 0.94
    coarse = (origins, directions, jitter(20), model.proposal_grid.table, level_table(BASE.proposal_grid))
    torch.library.opcheck(native_proposal.proposal, (*coarse, None, 48, 16, near, span))
    cells = pack_cells(torch.ones((RESOLUTION,) * 3, dtype=torch.bool))
    torch.library.opcheck(native_proposal.proposal, (*coarse, cells, 48, 16, near, span))
    edges = model._propose(origins, directions, None)[1].detach()
    fine = (origins, directions, edges, model.grid.table, level_table(BASE.grid), *model.network.parameters())
    torch.library.opcheck(native_field.field, (*fine, None, near, span, True, True))
    torch.library.opcheck(native_field.field, (*fine, cells, near, span, True, True))


@pytest.mark.parametrize(
    "config",
    [
        replace(BASE, grid=replace(BASE.grid, hashing="xor")),
        replace(BASE, proposal_grid=replace(BASE.proposal_grid, hashing="xor")),
        replace(BASE, grid=replace(BASE.grid, levels=3)),
        replace(BASE, hidden=24),
        replace(BASE, field_samples=12),
        replace(BASE, proposal_samples=200),
        replace(BASE, proposal_grid=replace(BASE.proposal_grid, features=2)),
    ],
    ids=["xor", "xor proposal", "6 inputs", "24 hidden", "12 samples", "200 proposal samples", "2 proposal features"],
)
def test_other_sizes_take_the_readable_form(config: NerfConfig) -> None:
    model, some = field(config), rays(20)
    assert not model._runs_natively(some.origins, some.directions)
    render = model.render(some, jitter=jitter(20))
    assert render.weights.shape == (20, config.field_samples)
    torch.testing.assert_close(render.weights.sum(-1), torch.ones(20))


def test_rays_that_learn_get_their_gradient() -> None:
    model, some = field(), rays(20)
    some.origins.requires_grad_()
    assert not model._runs_natively(some.origins, some.directions)
    model.render(some).color.sum().backward()
    assert some.origins.grad is not None and some.origins.grad.any()
    with torch.no_grad():
        assert model._runs_natively(some.origins, some.directions)


def test_nothing_is_compiled_twice() -> None:
    field().render(rays(20))
    kernel = processor._kernel("proposal_forward", "ProposalArguments")
    assert len(kernel.module.execs) == 1  # one block size
