"""The lens model against OpenCV's, its inverse against positions known beforehand, and where there is none."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from unscene.geometry import lenses
from unscene.geometry.lenses import distort, has_inverse, jacobian_determinant, undistort

ORDINARY = (0.06, -0.08, -0.001, 0.0005, 0.01)
WIDE = (-0.45, 0.25, 0.0, 0.0, 0.0)  # an action camera's, to 1.25 from the axis
FOLDING = (-0.5, 0.0, 0.0, 0.0, 0.0)  # reaches r = sqrt(2/3), which it distorts to 0.544, and then turns back
TANGENTIAL_FOLD = (-44.85, 1017.4, 0.621, 0.94, 0.0)  # rises along every radius, but for p1 and p2


def disc(radius: float, count: int = 2000) -> Tensor:
    """Positions all over a disc around the axis, P 2 float64, its rim among them."""
    generator = torch.Generator().manual_seed(0)
    r = radius * torch.rand(count, dtype=torch.float64, generator=generator).sqrt()
    r[: count // 10] = radius
    angle = 2 * torch.pi * torch.rand(count, dtype=torch.float64, generator=generator)
    return torch.stack([r * angle.cos(), r * angle.sin()], -1)


def lens(values: tuple[float, ...], count: int = 2000) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).expand(count, 5)


def lenses_that_rise(count: int, rays: int = 30) -> tuple[Tensor, Tensor]:
    """Random lenses, stronger than any that is sold, each with rays from the axis outwards: positions and parameters.

    Along the radius all rise, if only with a slope of 0.05, up to where the rays end; p1 and p2 bend them a little.
    """
    random, r = np.random.default_rng(0), np.linspace(1 / rays, 1, rays)
    positions, parameters = [], []
    while len(parameters) < count:
        k = random.normal(size=3) * [0.5, 0.4, 0.2]
        slope = (1 + 3 * k[0] * r**2 + 5 * k[1] * r**4 + 7 * k[2] * r**6).min()
        if slope < 0.05:
            continue
        size = random.uniform(0.1, 1.5)  # the same lens in front of a smaller sensor
        p, angle = random.normal(size=2) * 0.002 * slope, random.uniform(0, 2 * np.pi)
        positions.append(torch.from_numpy(size * r[:, None] * [np.cos(angle), np.sin(angle)]))
        parameters.append(lens((k[0] / size**2, k[1] / size**4, p[0] / size, p[1] / size, k[2] / size**6), rays))
    return torch.cat(positions), torch.cat(parameters)


def test_distort_is_opencvs_model() -> None:
    plane = disc(0.8)
    rays = np.concatenate([plane.numpy(), np.ones((len(plane), 1))], 1)
    expected = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), np.eye(3), np.array(ORDINARY))[0][:, 0]
    np.testing.assert_allclose(distort(plane, lens(ORDINARY)).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("values", [ORDINARY, WIDE, (0.3, 0.1, 0.02, -0.01, 0.05), (0.0,) * 5])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_undistort_inverts_distort(values: tuple[float, ...], dtype: torch.dtype, within: float) -> None:
    plane, parameters = disc(1.3), lens(values)
    undistorted = undistort(distort(plane, parameters).to(dtype), parameters.to(dtype))
    torch.testing.assert_close(undistorted, plane.to(dtype), atol=within, rtol=0)


def test_every_lens_that_rises_is_inverted() -> None:
    plane, parameters = lenses_that_rise(1000)
    distorted, tolerance = distort(plane, parameters), 1e-5 * plane.norm(dim=-1)
    error = (undistort(distorted, parameters) - plane).norm(dim=-1)
    assert parameters[error > tolerance].tolist() == []
    assert has_inverse(distorted, parameters, tolerance).all()


def test_newtons_steps_converge_quadratically(monkeypatch: pytest.MonkeyPatch) -> None:
    plane, parameters = disc(0.9), lens(WIDE)
    distorted, errors = distort(plane, parameters), []
    for steps in range(1, 5):
        monkeypatch.setattr(lenses, "APPROACH", (0.5, 0.8) + (1,) * steps)
        errors.append((undistort(distorted, parameters) - plane).norm(dim=-1).max().item())
    assert errors[0] < 0.2
    for before, after in itertools.pairwise(errors):
        assert after < max(3 * before**2, 1e-15)


def test_the_determinant_is_that_of_autograd() -> None:
    plane, parameters = disc(0.8, 20), lens((0.3, -0.2, 0.05, -0.04, 0.1), 20)
    jacobians = torch.autograd.functional.jacobian(lambda u: distort(u, parameters).sum(0), plane).permute(1, 0, 2)
    torch.testing.assert_close(jacobian_determinant(plane, parameters), torch.linalg.det(jacobians))


def test_where_a_lens_folds_back_there_is_no_inverse() -> None:
    reach = (2 / 3) ** 0.5 * 2 / 3
    plane, parameters = disc(0.7), lens(FOLDING)
    size = plane.norm(dim=-1)
    reached = has_inverse(plane, parameters, torch.full_like(size, 1e-6))
    assert reached[size < 0.995 * reach].all() and not reached[size > 1.005 * reach].any()
    assert undistort(plane.float(), parameters.float()).isfinite().all()


def test_an_inverse_beyond_the_fold_is_none() -> None:
    """What the lens cannot reach on its way out it reaches from far outside, where Newton may end: the path tells."""
    parameters, outer = lens((-1.5, 0.6, 0.0, 0.0, 0.0)), disc(1.7)  # falls from r = 0.53 to 1.09, rises after that
    distorted = distort(outer, parameters)
    distorted, parameters = (rows[distorted.norm(dim=-1) > 0.4] for rows in (distorted, parameters))
    error = (distort(undistort(distorted, parameters), parameters) - distorted).norm(dim=-1)
    assert (error < 1e-6).any()  # the case at hand
    assert not has_inverse(distorted, parameters, torch.full_like(error, 1e-6)).any()


def test_tangential_distortion_folds_too() -> None:
    rim = disc(0.15)[:200]
    radial = torch.tensor([*TANGENTIAL_FOLD[:2], 0.0, 0.0, 0.0], dtype=torch.float64).expand(200, 5)
    tolerance = torch.full((200,), 1e-5)
    assert has_inverse(rim, radial, tolerance).all()
    assert not has_inverse(rim, lens(TANGENTIAL_FOLD, 200), tolerance).all()
