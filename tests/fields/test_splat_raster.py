"""The rasteriser against all pixels and Gaussians in double precision, and what must hold for any."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from tests.fields.reference_splats import reference_render
from unscene.fields import cuda_splats, native_splats, splat_raster
from unscene.fields.splat_raster import SplatCamera, Window, composite, rasterise
from unscene.geometry.cameras import Cameras
from unscene.geometry.gaussians import Gaussians
from unscene.threads import torch_on_one_thread

WIDTH, HEIGHT = 45, 38


def cameras() -> Cameras:
    turn = torch.linalg.qr(torch.eye(3) + 0.2 * torch.randn(3, 3, generator=torch.Generator().manual_seed(5)))[0]
    turn = turn * turn.diagonal().sign() * torch.linalg.det(turn * turn.diagonal().sign())
    pose = torch.cat([turn, torch.tensor([[0.3], [-0.2], [0.5]])], 1)
    focal, principal = torch.tensor([[40.0, 44.0]]), torch.tensor([[20.0, 21.5]])
    return Cameras(pose[None], focal, principal, torch.zeros(1, 5), WIDTH, HEIGHT)


def gaussians_before(camera: Cameras, count: int, degree: int, *, seed: int = 0) -> Gaussians:
    """Some outside the view, some behind the camera, some opaque, all sizes; enough to be done somewhere."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    depth = uniform(count) * 6 + 0.5
    depth[::9] *= -1
    plane = (uniform(count, 2) * torch.tensor([WIDTH, HEIGHT]) * 1.6 - 12 - camera.principal[0]) / camera.focal[0]
    local = torch.cat([plane * depth[:, None], depth[:, None]], 1)
    pose = camera.T_world_camera[0]
    logits = uniform(count) * 8 - 4
    logits[::7] = 8
    harmonics = (uniform(count, (degree + 1) ** 2, 3) - 0.5) * torch.tensor([2.0, 1, 1])
    return Gaussians(
        local @ pose[:, :3].T + pose[:, 3], uniform(count, 3) * 2.5 - 3, torch.randn(count, 4, generator=generator),
        logits, harmonics,
    )  # fmt: skip


def double(gaussians: Gaussians) -> Gaussians:
    return Gaussians(*(tensor.double().requires_grad_() for tensor in gaussians.tensors))


def learning(gaussians: Gaussians) -> Gaussians:
    return Gaussians(*(tensor.clone().requires_grad_() for tensor in gaussians.tensors))


@pytest.mark.parametrize("window", [None, Window(7, 5, 30, 21)])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_pictures_and_gradients_are_the_reference(degree: int, window: Window | None) -> None:
    camera = SplatCamera.of(cameras(), 0, window)
    plain = gaussians_before(cameras(), 150, degree)
    extra = torch.randn(150, 2, generator=torch.Generator().manual_seed(1))
    ours, theirs = learning(plain), double(plain)
    our_extra, their_extra = extra.clone().requires_grad_(), extra.double().requires_grad_()
    render = rasterise(ours, camera, our_extra)
    image, light, depth, close = reference_render(theirs, camera, their_extra)
    assert close.float().mean() < 0.05 and light.max() > 0.1
    assert window is not None or light.min() < 1e-4  # somewhere a pixel is done early
    clear = ~close
    assert (render.image - image)[clear].abs().max() < 1e-5
    assert (render.transmittance - light)[clear].abs().max() < 1e-5
    torch.testing.assert_close(render.median_depth()[clear].double(), depth[clear], rtol=1e-5, atol=1e-5)
    weights = torch.randn(image.shape, generator=torch.Generator().manual_seed(2)) * clear[..., None]
    light_weights = torch.randn(light.shape, generator=torch.Generator().manual_seed(3)) * clear
    ((render.image * weights).sum() + (render.transmittance * light_weights).sum()).backward()
    ((image * weights).sum() + (light * light_weights).sum()).backward()
    for our, their in zip((*ours.tensors, our_extra), (*theirs.tensors, their_extra), strict=True):
        assert our.grad is not None and their.grad is not None
        assert their.grad.abs().max() > 0
        assert (our.grad - their.grad).norm() <= 1e-4 * their.grad.norm()


def test_channels_alone_have_the_colours_weights() -> None:
    camera, plain = SplatCamera.of(cameras(), 0), gaussians_before(cameras(), 150, 1)
    channels = torch.rand(150, 5)
    alone, behind = composite(plain, camera, channels), rasterise(plain, camera, channels)
    assert torch.equal(alone.image, behind.image[..., 3:]) and torch.equal(alone.transmittance, behind.transmittance)
    ones = composite(plain, camera, torch.ones(150, 1))
    torch.testing.assert_close(ones.image[..., 0], ones.opacity, atol=1e-6, rtol=0)


def test_a_window_shows_what_the_view_shows_there() -> None:
    plain, camera = gaussians_before(cameras(), 200, 2), cameras()
    whole = rasterise(plain, SplatCamera.of(camera, 0))
    for window in (Window(0, 0, 17, 33), Window(13, 9, 20, 29), Window(44, 37, 1, 1)):
        part = rasterise(plain, SplatCamera.of(camera, 0, window))
        rows, columns = slice(window.top, window.top + window.height), slice(window.left, window.left + window.width)
        close = (part.image - whole.image[rows, columns]).abs() < 1e-5
        assert close.float().mean() > 0.99  # thresholds are met in other roundings


def test_threads_change_nothing() -> None:
    camera, plain = SplatCamera.of(cameras(), 0), gaussians_before(cameras(), 300, 3)
    found = []
    threads = torch.get_num_threads()
    for amount in (1, 3):
        torch.set_num_threads(amount)
        with torch_on_one_thread():
            ours = learning(plain)
            render = rasterise(ours, camera)
            render.image.square().sum().backward()
        found.append([render.image, render.transmittance, *(tensor.grad for tensor in ours.tensors)])
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_the_order_of_gaussians_changes_nothing() -> None:
    camera, plain = SplatCamera.of(cameras(), 0), gaussians_before(cameras(), 200, 0)
    mixed = plain[torch.randperm(200, generator=torch.Generator().manual_seed(4))]
    assert torch.equal(rasterise(plain, camera).image, rasterise(mixed, camera).image)


def test_nothing_to_see() -> None:
    camera, plain = SplatCamera.of(cameras(), 0), gaussians_before(cameras(), 20, 1)
    behind = dataclasses.replace(plain, means=plain.means - 100 * cameras().forward)
    for empty in (learning(plain[:0]), learning(behind)):
        render = rasterise(empty, camera)
        assert not render.image.any() and (render.transmittance == 1).all() and render.median_depth().isinf().all()
        render.image.sum().backward()
        assert all(tensor.grad is not None and not tensor.grad.any() for tensor in empty.tensors)


def test_numbers_that_are_none_draw_nothing() -> None:
    """Whatever a Gaussian is made of, the picture stays one, and so do the others' gradients."""
    camera, plain = SplatCamera.of(cameras(), 0), gaussians_before(cameras(), 60, 0)
    expected = rasterise(plain, camera)
    for place in ("means", "log_scales", "quaternions", "opacity_logits"):
        for value in (float("nan"), float("inf"), -float("inf"), 1e30):
            broken = dataclasses.replace(plain[:1], **{place: getattr(plain, place)[:1].clone().fill_(value)})
            joined = learning(Gaussians.joined([broken, plain]))
            render = rasterise(joined, camera)
            if value != value:
                assert torch.equal(render.image, expected.image)
            assert render.image.isfinite().all()
            render.image.sum().backward()
            assert all(tensor.grad[1:].isfinite().all() for tensor in joined.tensors)  # pyright: ignore


def test_torch_knows_the_operators() -> None:
    camera, plain = SplatCamera.of(cameras(), 0), learning(gaussians_before(cameras(), 30, 1))
    inputs = (*plain.tensors, torch.rand(30, 1), list(camera.numbers), *camera.window[2:])
    tests = ("test_schema", "test_autograd_registration")
    torch.library.opcheck(splat_raster.splats, inputs, test_utils=tests)


def test_lists_made_by_torch_are_those_of_the_processor() -> None:
    """What CUDA draws by, made on the processor; no stripe of tiles meddles with another's, however many there are."""
    wide = dataclasses.replace(cameras(), width=8 * WIDTH, height=8 * HEIGHT, focal=8 * cameras().focal)
    wide = dataclasses.replace(wide, principal=8 * cameras().principal)
    plain, threads = gaussians_before(cameras(), 30_000, 0), torch.get_num_threads()
    columns, rows = -(-wide.width // 16), -(-wide.height // 16)
    for amount in (1, 2, 3, 7, 40):
        torch.set_num_threads(amount)
        drawn = native_splats.Drawn(*rasterise(plain, SplatCamera.of(wide, 0))._drawn)
        starts, lists = cuda_splats.tile_lists(drawn.boxes, drawn.depths, drawn.counts, columns, rows)
        assert len(lists) > 30_000 and torch.equal(starts, drawn.starts) and torch.equal(lists, drawn.lists), amount
    torch.set_num_threads(threads)
