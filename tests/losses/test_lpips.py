"""LPIPS on random checkpoints of the published layout, against its networks written out in torch's layers."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.losses.lpips_checkpoints import random_lpips
from unscene.losses.lpips import LpipsNetwork, lpips_features
from unscene.losses.perceptual import perceptual_distance

NETWORKS = get_args(LpipsNetwork)
pytestmark = pytest.mark.usefixtures("one_thread")


def picture(seed: int, side: int = 64) -> Tensor:
    """Smooth blobs with fine texture on them, 1 3 H W."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 5, generator=generator)
    fine = torch.rand(1, 3, side, side, generator=generator)
    return (0.7 * F.interpolate(coarse, size=(side, side), mode="bicubic") + 0.3 * fine).clamp(0, 1)


def reference_layers(network: str, narrower: int) -> nn.Sequential:
    """torchvision's ``features``, layer by layer, up to the last that LPIPS looks at."""

    def conv(before: int, after: int, side: int = 3, stride: int = 1, padding: int = 1) -> list[nn.Module]:
        before = before if before == 3 else before // narrower
        return [nn.Conv2d(before, after // narrower, side, stride, padding), nn.ReLU()]

    def pool(side: int) -> list[nn.Module]:
        return [nn.MaxPool2d(side, 2)]

    if network == "alex":
        return nn.Sequential(
            *conv(3, 64, 11, 4, 2), *pool(3), *conv(64, 192, 5, 1, 2), *pool(3),
            *conv(192, 384), *conv(384, 256), *conv(256, 256),
        )  # fmt: skip
    return nn.Sequential(
        *conv(3, 64), *conv(64, 64), *pool(2), *conv(64, 128), *conv(128, 128), *pool(2),
        *conv(128, 256), *conv(256, 256), *conv(256, 256), *pool(2), *conv(256, 512), *conv(512, 512), *conv(512, 512),
        *pool(2), *conv(512, 512), *conv(512, 512), *conv(512, 512),
    )  # fmt: skip


LOOKED_AT = {"vgg": (3, 8, 15, 22, 29), "alex": (1, 4, 7, 9, 11)}


def reference_lpips(network: str, backbone: dict, heads: dict, one: Tensor, two: Tensor, narrower: int) -> float:
    layers = reference_layers(network, narrower)
    state = {k.removeprefix("features."): v for k, v in backbone.items() if k.startswith("features.")}
    layers.load_state_dict(state)
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    a, b = ((image - mean) / deviation for image in (one, two))  # what LPIPS's constants for [-1, 1] come to
    total = 0.0
    for index, layer in enumerate(layers):
        a, b = layer(a), layer(b)
        if index in LOOKED_AT[network]:
            head = heads[f"lin{LOOKED_AT[network].index(index)}.model.1.weight"]
            unit_a, unit_b = F.normalize(a, dim=1), F.normalize(b, dim=1)
            total += F.conv2d((unit_a - unit_b).square(), head).mean().item()
    return total


@pytest.mark.parametrize("network", NETWORKS)
def test_the_distance_is_that_of_the_published_layout(network: LpipsNetwork) -> None:
    backbone, heads = random_lpips(network)
    features = lpips_features(network, backbone, heads)
    wanted = reference_lpips(network, backbone, heads, picture(0), picture(1), 16)
    assert float(perceptual_distance(features, picture(0), picture(1))) == pytest.approx(wanted, rel=2e-3)
    assert features.name == f"LPIPS ({network})" and wanted > 0.01


@pytest.mark.parametrize("network", NETWORKS)
def test_it_notices_blur_and_a_shift(network: LpipsNetwork) -> None:
    """Both are worse than a slight tint, even to networks that have learnt nothing."""
    features = lpips_features(network, *random_lpips(network, narrower=8))
    truth = picture(0)
    smooth = F.avg_pool2d(truth, 7, 1, 3, count_include_pad=False)
    tinted = (truth + 0.03).clamp(0, 1)
    distance = {
        name: float(perceptual_distance(features, image, truth))
        for name, image in {"blur": smooth, "shift": truth.roll(4, -1), "tint": tinted, "same": truth}.items()
    }
    assert distance["same"] == 0 and min(distance["blur"], distance["shift"]) > 2 * distance["tint"] > 0


@pytest.mark.parametrize("network", NETWORKS)
def test_it_can_be_a_loss(network: LpipsNetwork) -> None:
    """Gradients reach the image, and a step against them lowers the distance; the networks have none."""
    features = lpips_features(network, *random_lpips(network))
    image, truth = picture(1).requires_grad_(), picture(0)
    before = perceptual_distance(features, image, truth)
    before.backward()
    assert image.grad is not None and image.grad.isfinite().all() and not features.weights[0].requires_grad
    step = 1e-2 * image.grad / image.grad.norm()
    assert perceptual_distance(features, image.detach() - step, truth) < before


def test_only_the_mask_counts_and_depths_are_added() -> None:
    """On colours as features and weights that can be worked out by hand."""
    features = lpips_features("alex", *random_lpips("alex"))
    by_hand = type(features)("two depths", lambda images: [images, images], [torch.tensor([1.0, 2, 0]), torch.ones(3)])
    red, green = (torch.eye(3)[i].view(1, 3, 1, 1).expand(1, 3, 4, 4) for i in (0, 1))
    assert float(perceptual_distance(by_hand, red, green)) == pytest.approx((1 + 2) + (1 + 1), rel=1e-5)
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[..., :2] = True
    half = torch.where(mask, red, green)
    assert float(perceptual_distance(by_hand, half, green, mask)) == pytest.approx(5, rel=1e-5)
    assert float(perceptual_distance(by_hand, half, red, mask)) == 0


def test_checkpoints_that_do_not_fit_are_named() -> None:
    backbone, heads = random_lpips("vgg")
    with pytest.raises(ValueError, match=r"expected a tensor features\.3\.weight"):
        lpips_features("alex", backbone, heads)
    with pytest.raises(ValueError, match=r"lin1\.model\.1\.weight: expected 8 channels, got 12"):
        lpips_features("vgg", backbone, random_lpips("alex")[1])
    wrong = backbone | {"features.5.weight": torch.zeros(8, 5, 3, 3)}
    with pytest.raises(ValueError, match=r"features\.5\.weight: expected 4 input channels, got 5"):
        lpips_features("vgg", wrong, heads)
    with pytest.raises(ValueError, match=r"lin0\.model\.1\.weight, found none"):
        lpips_features("vgg", backbone, {})
