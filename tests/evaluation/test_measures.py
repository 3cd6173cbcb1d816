"""Each metric on pictures of which it is known what it must notice, and what it must not."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.evaluation.still_views import COUNT, HEIGHT, WIDTH, blob, spoilt, views, wall
from tests.losses.lpips_checkpoints import random_lpips
from unscene.evaluation.figures import REGIONS, Figure, Metric, Views, figure
from unscene.evaluation.measures import (
    PSNR,
    SHARPNESS,
    SHARPNESS_RATIO,
    SSIM,
    at_boundaries,
    between_sets,
    lpips,
    pooled,
    quality,
    stand_in,
)
from unscene.evaluation.metrics import psnr
from unscene.evaluation.regions import Region, wide_box
from unscene.evaluation.statistics import frechet_distance, kernel_distance
from unscene.losses.lpips import lpips_features
from unscene.losses.perceptual import perceptual_distance

pytestmark = pytest.mark.usefixtures("one_thread")

NETWORK = lpips_features("alex", *random_lpips("alex", narrower=8))
LPIPS = lpips(NETWORK, "LPIPS (alex)")
STAND_IN = stand_in(NETWORK.maps, "stand-in")
FID = between_sets(frechet_distance, pooled(NETWORK.maps), "FID", "random features")
KID = between_sets(kernel_distance, pooled(NETWORK.maps), "KID", "random features")
C_FID = at_boundaries(frechet_distance, pooled(NETWORK.maps), "C-FID", "random features")
C_KID = at_boundaries(kernel_distance, pooled(NETWORK.maps), "C-KID", "random features")


def gradients(images: Tensor) -> list[Tensor]:
    """Means of them tell a sharp picture: what stands for MUSIQ here."""
    return [images.diff(dim=-1).abs().mean((1, 2, 3), keepdim=True)]


MUSIQ = quality(lambda image: gradients(image)[0], "MUSIQ", "")


def value(metric: Metric, of: Views, region: Region = "mask") -> float:
    found = figure(metric, of, region)
    assert found is not None
    return found.value


NOTICED = [(metric, kind) for metric in (PSNR, SSIM, STAND_IN, LPIPS) for kind in ("blur", "shift", "seam", "flat")]
NOTICED += [(metric, kind) for metric in (FID, KID) for kind in ("blur", "seam", "flat")]


@pytest.mark.parametrize(("metric", "kind"), NOTICED, ids=lambda case: getattr(case, "name", case))
@pytest.mark.parametrize("region", REGIONS)
def test_against_the_truth_every_fault_is_noticed(metric: Metric, kind: str, region: Region) -> None:
    """FID and KID need not notice a shift: the same texture elsewhere is of the same distribution."""
    sign = 1 if metric.better == "higher" else -1
    perfect, bad = value(metric, views("nothing"), region), value(metric, views(kind), region)
    assert sign * perfect > sign * bad


def test_sharpness_notices_blur_and_lost_texture_and_no_shift() -> None:
    ratio = {kind: value(SHARPNESS_RATIO, views(kind)) for kind in ("nothing", "blur", "flat", "shift")}
    assert ratio["nothing"] == pytest.approx(1) and ratio["blur"] < 0.3 and ratio["flat"] < 0.3
    assert ratio["shift"] == pytest.approx(1, abs=0.25)
    assert value(SHARPNESS, views("blur")) < 0.3 * value(SHARPNESS, views("nothing"))


@pytest.mark.parametrize("metric", [C_FID, C_KID], ids=lambda metric: metric.name)
@pytest.mark.parametrize("kind", ["blur", "seam", "flat"])
def test_at_the_boundary_faults_are_noticed_without_the_truth(metric: Metric, kind: str) -> None:
    def unknown(of: Views) -> Views:
        return dataclasses.replace(of, truths=None)

    perfect, bad = (value(metric, unknown(views(k)), "boundary") for k in ("nothing", kind))
    assert bad > 1.3 * perfect


def test_what_is_far_inside_the_mask_is_not_at_its_boundary() -> None:
    middle = views("nothing")
    marred = [image.clone() for image in middle.images]
    for image in marred:
        image[32:40, 44:52] = 0
    changed = dataclasses.replace(middle, images=marred)
    assert value(C_FID, changed, "boundary") == value(C_FID, middle, "boundary")
    assert value(FID, changed) > value(FID, middle) + 1e-6


def test_the_boundary_is_compared_with_what_photos_show_beside_the_mask() -> None:
    base = views("nothing")
    hidden = [(torch.where(mask[..., None], 0.0, photo), mask) for photo, mask in base.photos]
    dull = [(photo * 0.4, mask) for photo, mask in base.photos]
    found = {name: value(C_FID, dataclasses.replace(base, photos=photos), "boundary")
             for name, photos in {"own": base.photos, "hidden": hidden, "dull": dull}.items()}  # fmt: skip
    assert found["hidden"] == found["own"] < 0.7 * found["dull"]


def test_quality_needs_no_truth_and_sees_regions_as_pictures() -> None:
    shown: list[tuple[int, ...]] = []

    def network(picture: Tensor) -> Tensor:
        shown.append(tuple(picture.shape))
        return gradients(picture)[0]

    metric = quality(network, "MUSIQ", "")
    alone = dataclasses.replace(views("nothing"), truths=None)
    for region in REGIONS:
        value(metric, alone, region)
    rows, columns = wide_box(blob())
    box = (1, 3, max(rows.stop - rows.start, 64), columns.stop - columns.start)
    assert shown[0] == (1, 3, HEIGHT, WIDTH) and shown[-1][2] == 64 and shown[COUNT] == shown[-1]
    assert shown[-1][3] / shown[-1][2] == pytest.approx(box[3] / (rows.stop - rows.start), rel=0.03)
    assert value(MUSIQ, views("blur"), "box") < value(MUSIQ, views("nothing"), "box")


@pytest.mark.parametrize("metric", [PSNR, SSIM, SHARPNESS_RATIO, LPIPS, FID], ids=lambda metric: metric.name)
def test_what_lies_outside_a_region_does_not_count(metric: Metric) -> None:
    """But for what SSIM's window sees over the border of a mask. (The stand-in sees farther: it has no test here.)"""
    base = views("blur")
    rows, columns = wide_box(blob())
    inside = torch.zeros(HEIGHT, WIDTH, 1, dtype=torch.bool)
    inside[rows, columns] = True
    marred = dataclasses.replace(base, images=[torch.where(inside, i, torch.rand(i.shape)) for i in base.images])
    if metric in (LPIPS, FID):
        assert value(metric, marred, "box") == value(metric, base, "box")
    assert value(metric, marred, "mask") == pytest.approx(value(metric, base, "mask"), rel=1e-3, abs=0.05)
    assert value(metric, marred, "image") != pytest.approx(value(metric, base, "image"), rel=0.05)


def test_m_lpips_is_lpips_of_the_box_with_black_outside_the_mask() -> None:
    bad = views("blur")
    assert bad.truths is not None
    rows, columns = wide_box(blob())
    by_hand = []
    for image, truth in zip(bad.images, bad.truths, strict=True):
        pair = [(i * blob()[..., None])[rows, columns].permute(2, 0, 1)[None] for i in (image, truth)]
        size = [round(side * max(1, 64 / min(pair[0].shape[2:]))) for side in pair[0].shape[2:]]
        pair = [F.interpolate(i, size, mode="bilinear", align_corners=False) for i in pair]
        by_hand.append(float(perceptual_distance(NETWORK, *pair)))
    found = figure(LPIPS, bad, "mask")
    assert found is not None and found.metric == "M-LPIPS (alex)"
    assert found.value == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-4)
    assert figure(LPIPS, bad, "box").metric == "LPIPS (alex)"  # pyright: ignore[reportOptionalMemberAccess]


def test_sets_are_those_of_all_views() -> None:
    bad = views("flat")
    assert bad.truths is not None
    sets = [
        torch.cat([pooled(NETWORK.maps)(i.permute(2, 0, 1)[None]) for i in images])
        for images in (bad.images, bad.truths)
    ]
    assert value(FID, bad, "image") == pytest.approx(frechet_distance(*sets), rel=1e-6)
    assert value(KID, bad, "image") == pytest.approx(kernel_distance(*sets), rel=1e-6)


def test_the_protocol_stands_beside_the_number() -> None:
    found = figure(PSNR, views("blur", masks_from="the run"), "mask")
    assert found is not None
    wanted = "6 views of 96x72; pixels inside the mask, of all views together; masks of the run; of the squared error"
    pixels = [(i - t).square()[blob()] for i, t in zip(views("blur").images, views("blur").truths or (), strict=True)]
    by_hand = -10 * math.log10(torch.cat(pixels).mean().item())
    assert found == Figure("PSNR", "mask", pytest.approx(by_hand), "dB", "higher", 6, wanted)
    assert "black outside the mask" in figure(LPIPS, views("blur"), "mask").protocol  # pyright: ignore
    assert "masks of" not in figure(PSNR, views("blur", masks_from="the run"), "image").protocol  # pyright: ignore
    assert "patches a view" in figure(C_FID, views("blur"), "boundary").protocol  # pyright: ignore


def test_views_without_a_mask_count_for_whole_images_only() -> None:
    base = views("blur")
    nothing = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    some = dataclasses.replace(base, masks=[blob(), nothing, blob(), *[nothing] * 3])
    image, mask = figure(SSIM, some, "image"), figure(SSIM, some, "mask")
    assert image is not None and mask is not None and (image.views, mask.views) == (6, 2)
    two = dataclasses.replace(
        base, images=[base.images[0], base.images[2]], truths=[wall(0), wall(18)], masks=[blob()] * 2
    )
    assert mask.value == value(SSIM, two)
    none = dataclasses.replace(base, masks=[nothing] * 6)
    assert [figure(metric, none, "mask") for metric in (PSNR, SSIM, FID, MUSIQ, SHARPNESS)] == [None] * 5
    assert figure(C_FID, none, "boundary") is None


def test_what_is_not_known_gives_no_figure() -> None:
    alone = Views([wall(0)])
    assert figure(PSNR, alone, "image") is None and figure(SHARPNESS, alone, "image") is not None
    assert figure(SHARPNESS, alone, "mask") is None and figure(C_FID, alone, "boundary") is None
    one = Views([spoilt("blur", wall(0))], [wall(0)], [blob()])
    assert figure(FID, one, "image") is None and figure(PSNR, one, "image") is not None
    assert figure(PSNR, one, "boundary") is None
    filled = dataclasses.replace(views("blur"), masks=[torch.ones(HEIGHT, WIDTH, dtype=torch.bool)] * COUNT)
    assert figure(C_FID, filled, "boundary") is None  # no boundary inside the image
    assert psnr(wall(0), wall(0)) == math.inf
