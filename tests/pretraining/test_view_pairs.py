"""Batches of pairs: the same whoever draws them, and right where a sphere tells what is right."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.pretraining.sphere_shards import SIZE, cameras_at, sphere_sample, write_sphere_shards
from tests.sphere_views import sphere_view
from unscene.geometry.turntable import pose_numbers, rotation_angle
from unscene.pretraining.novel_views import NovelViewTraining
from unscene.pretraining.object_shards import ShardError, stream_views, write_index, write_shard
from unscene.pretraining.view_pairs import NoiseDraw, Pair, PairBatches, _draw_noise, draw_pair, loaded, model_inputs

NOISE = NoiseDraw((4, 4, 4), 1.0, 0.1, 1000)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of three samples."""
    return write_sphere_shards(tmp_path_factory.mktemp("shards"), 3, 3, size=16)


def drawn(shards: Path, count: int, *, batch: int = 2, first: int = 0, seed: int = 0, **share: int):
    """The first batches."""
    batches = PairBatches(shards, NOISE, batch=batch, first=first, seed=seed, **share)
    return list(itertools.islice(batches, count))


def rows(batches: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """The pairs of batches one by one."""
    return [{name: batch[name][i] for name in batch} for batch in batches for i in range(len(batch["times"]))]


def assert_same(first: list[dict[str, Tensor]], second: list[dict[str, Tensor]]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def by_noise(pairs: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    return sorted(pairs, key=lambda row: float(row["noise"].flatten()[0]))


# The same whoever draws


def test_a_pair_does_not_depend_on_the_batch_it_is_in(shards: Path) -> None:
    one_by_one = rows(drawn(shards, 12, batch=1))
    assert_same(one_by_one, rows(drawn(shards, 3, batch=4)))
    assert len({float(row["noise"].sum()) for row in one_by_one}) == 12  # six samples, two epochs


def test_a_pair_does_not_depend_on_the_process_that_draws_it(shards: Path) -> None:
    alone = rows(drawn(shards, 6, batch=2))
    shared = [rows(drawn(shards, 6, batch=1, process=process, processes=2)) for process in range(2)]
    for epoch in range(2):
        together = [*shared[0][3 * epoch : 3 * epoch + 3], *shared[1][3 * epoch : 3 * epoch + 3]]
        assert_same(by_noise(together), by_noise(alone[6 * epoch : 6 * epoch + 6]))


def test_other_seeds_draw_other_pairs(shards: Path) -> None:
    one, other = (by_noise(rows(drawn(shards, 3, seed=seed))) for seed in (0, 1))
    assert not any(torch.equal(a["noise"], b["noise"]) for a in one for b in other)


@pytest.mark.parametrize("first", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("share", [{}, {"process": 1, "processes": 2}])
def test_a_resumed_run_sees_the_batches_of_an_uninterrupted_one(
    shards: Path, first: int, share: dict[str, int]
) -> None:
    assert_same(drawn(shards, 9, **share)[first:], drawn(shards, 9 - first, first=first, **share))


def test_batches_drawn_ahead_by_workers_are_the_same_in_order(shards: Path) -> None:
    """As training draws: a batch in this process first, with Warp, then others in processes that may not be forked."""
    alone = drawn(shards, 6)
    ahead = loaded(PairBatches(shards, NOISE, batch=2, first=1, seed=0), workers=2)
    context: Any = ahead.multiprocessing_context
    assert context.get_start_method() == "forkserver"
    assert_same(alone[1:], list(itertools.islice(ahead, 5)))


# Which pairs


def test_near_views_are_paired_more_often_than_far_ones(tmp_path: Path) -> None:
    cameras = cameras_at([36.0 * view for view in range(10)], [0.0] * 10, [3.0] * 10, size=8)
    write_shard(tmp_path / "sphere.tar", [sphere_sample("sphere", cameras)])
    write_index(tmp_path, {"sphere.tar": 1})
    _, sample = next(stream_views(tmp_path, seed=0, skip=0))
    pairs = [draw_pair(sample, np.random.default_rng(seed)) for seed in range(600)]
    angles = [round(rotation_angle(pair.source_camera, pair.target_camera)) for pair in pairs]
    shares = np.array([angles.count(angle) for angle in (36, 72, 108, 144, 180)]) / len(pairs)
    assert shares.sum() == pytest.approx(1)  # never a view with itself
    # two views at each angle, one opposite; 1 / e times as often at 120 degrees. Four deviations of 600 draws: 0.08
    weights = np.exp(-np.array([36, 72, 108, 144, 180]) / 120) * [2, 2, 2, 2, 1]
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.08)
    assert all(np.diff(shares) < 0)
    sources = np.unique(
        [pair.source_camera.positions[0].numpy().round(3) for pair in pairs], axis=0, return_counts=True
    )
    assert len(sources[1]) == 10 and sources[1].min() > 30  # 60 each on average


def test_a_single_view_makes_no_pair(tmp_path: Path) -> None:
    write_sphere_shards(tmp_path, 1, views=1, size=8)
    _, sample = next(stream_views(tmp_path, seed=0, skip=0))
    with pytest.raises(ShardError, match=r"sphere-000: expected at least two views of an object.*got 1; render others"):
        draw_pair(sample, np.random.default_rng(0))


# What the models see of them


@pytest.fixture(scope="module")
def pair() -> Pair:
    """From 20 degrees to 60, 10 degrees up, a little farther away."""
    cameras = cameras_at([20.0, 60.0], [5.0, 15.0], [2.8, 3.1])
    sample = sphere_sample("sphere", cameras)
    return Pair(sample.colors[0], sample.depths[0], cameras[[0]], sample.colors[1], cameras[[1]])


def test_source_and_target_are_the_renderings_on_white(pair: Pair) -> None:
    inputs = model_inputs(pair)
    for name, camera in (("source", pair.source_camera), ("target", pair.target_camera)):
        color, depth = sphere_view(camera)
        white = torch.where((depth > 0)[..., None], color, 1.0).permute(2, 0, 1)
        assert inputs[name].dtype == torch.uint8 and inputs[name].shape == (3, SIZE, SIZE)
        assert (inputs[name].float() - white * 255).abs().max() <= 0.501
        assert 0.1 < (depth > 0).float().mean() < 0.9


def test_half_transparent_edges_are_half_white(pair: Pair) -> None:
    edge = pair.target.clone()
    edge[0, 0] = torch.tensor([200, 0, 100, 51])
    target = model_inputs(Pair(pair.source, pair.depth, pair.source_camera, edge, pair.target_camera))["target"]
    assert target[:, 0, 0].tolist() == [244, 204, 224]


def test_poses_are_the_differences_of_the_cameras(pair: Pair) -> None:
    expected = pose_numbers(torch.tensor([40.0]), torch.tensor([10.0]), torch.tensor([0.3]))[0]
    torch.testing.assert_close(model_inputs(pair)["poses"], expected, rtol=0, atol=1e-5)


def test_poses_know_left_from_right_across_the_seam() -> None:
    cameras = cameras_at([170.0, -170.0], [0.0, 0.0], [3.0, 3.0])
    sample = sphere_sample("sphere", cameras)
    views = [(sample.colors[view], cameras[[view]]) for view in range(2)]
    for (source, camera), (target, other), turn in ((*views, 20.0), (*reversed(views), -20.0)):
        poses = model_inputs(Pair(source, sample.depths[0], camera, target, other))["poses"]
        expected = pose_numbers(torch.tensor([turn]), torch.zeros(1), torch.zeros(1))[0]
        torch.testing.assert_close(poses, expected, rtol=0, atol=1e-5)


def test_where_the_source_shows_the_target_are_its_colours_and_the_rays_angle(pair: Pair) -> None:
    inputs = model_inputs(pair)
    _, depth = sphere_view(pair.target_camera)
    rays = pair.target_camera.image_rays(0)
    points = rays.origins + rays.directions * (depth.flatten() / rays.depth_per_distance)[:, None]
    towards = torch.nn.functional.normalize(pair.source_camera.positions - points, dim=-1)
    facing = (torch.nn.functional.normalize(points, dim=-1) * towards).sum(-1)
    shown = (depth > 0) & (facing > 0.4).view(SIZE, SIZE)  # well inside what the source sees
    angle = torch.rad2deg(torch.acos((-towards * rays.directions).sum(-1).clamp(-1, 1))).view(SIZE, SIZE)
    assert shown.sum() > 100 and angle[shown].max() - angle[shown].min() > 5
    soft = inputs["soft_masks"][0].float()
    difference = (soft - angle / 180 * 255)[shown].abs()
    assert difference.max() < 6 and difference.mean() < 1.2  # 3.6 and 0.7: splats are half a pixel off
    difference = (inputs["partial"].float() - inputs["target"].float()).abs()[:, shown]
    assert difference.mean() < 9  # 5.6


def test_masks_are_whole_where_something_new_may_appear_and_nothing_elsewhere(pair: Pair) -> None:
    inputs = model_inputs(pair)
    new, soft, partial = inputs["epipolar_masks"][0] == 255, inputs["soft_masks"][0], inputs["partial"]
    assert torch.equal(inputs["epipolar_masks"][0] > 0, new) and new.any() and not new.all()
    assert (soft[new] == 255).all() and (soft[~new] < 128).all()  # no ray turned by 90 degrees is used
    assert (partial[:, new] == 128).all()
    assert (partial[:, ~new & (soft == 0)] == 255).all()


# Noise


@pytest.mark.parametrize("bias", [0.0, 1.0, 3.0])
def test_noise_levels_follow_the_power_law_of_their_bias(bias: float) -> None:
    noise = NoiseDraw((1, 1, 1), bias, 0.25, 1000)
    rows = [_draw_noise(noise, np.random.default_rng(seed)) for seed in range(2000)]
    times = torch.stack([row["times"] for row in rows])
    assert times.dtype == torch.long and times.min() >= 0 and times.max() <= 999
    for level in (0.1, 0.5, 0.9):
        below = (times < 1000 * level).float().mean().item()
        assert below == pytest.approx(level ** (1 + bias), abs=0.03)
    assert sum(bool(row["untold"]) for row in rows) / 2000 == pytest.approx(0.25, abs=0.04)


def test_by_default_the_noisy_end_is_drawn_more_often_than_any_other_part() -> None:
    """iNVS: an object's outline is decided within the first tenth of the sampler's steps, from 0.9 on."""
    config = NovelViewTraining(shards=Path("shards"), out=Path("out"))
    noise = NoiseDraw((1, 1, 1), config.noise_bias, 0.0, 1000)
    times = [int(_draw_noise(noise, np.random.default_rng(seed))["times"]) for seed in range(2000)]
    shares = np.histogram(times, 10, (0, 1000))[0] / len(times)
    assert shares[-1] == max(shares) > 1.5 * 0.1
    assert np.corrcoef(shares, np.arange(10))[0, 1] > 0.95


def test_noise_levels_are_those_of_the_scheduler() -> None:
    times = [
        _draw_noise(NoiseDraw((1, 1, 1), 1.0, 0, timesteps), np.random.default_rng(0))["times"]
        for timesteps in (1000, 100)
    ]
    assert times[0] // 10 == times[1] > 0


def test_batches_of_a_higher_bias_are_noisier(shards: Path) -> None:
    times = [
        next(iter(PairBatches(shards, NoiseDraw((1, 1, 1), bias, 0, 1000), batch=6, first=0, seed=0)))["times"]
        for bias in (0.0, 1.0, 4.0)
    ]
    assert (times[0] < times[1]).all() and (times[1] < times[2]).all()


def test_noise_is_of_unit_variance_and_the_latent_s_shape() -> None:
    noise = _draw_noise(NoiseDraw((4, 32, 32), 0, 0, 1000), np.random.default_rng(0))["noise"]
    assert noise.shape == (4, 32, 32) and noise.dtype == torch.float32
    assert noise.mean() == pytest.approx(0, abs=0.06) and noise.std() == pytest.approx(1, abs=0.05)


# What is new is told by symmetry


def test_holes_show_what_a_mirrored_back_would_and_say_how_close_it_is(pair: Pair) -> None:
    inputs, plain = model_inputs(pair, symmetry=True), model_inputs(pair)
    new = plain["epipolar_masks"][0] > 0
    close = inputs["epipolar_masks"][0]
    assert torch.equal(close > 0, new) and 100 < close[new].float().mean() < 255
    assert torch.equal(inputs["partial"][:, ~new], plain["partial"][:, ~new])
    _, true_depth = sphere_view(pair.target_camera)
    mirrored = new & (inputs["partial"] != 128).any(0)
    assert (mirrored & (true_depth > 0)).sum() > 0.85 * (new & (true_depth > 0)).sum()
    assert set(inputs["soft_masks"][0][new].unique().tolist()) == {128, 255}
    for name in ("target", "source", "poses"):
        assert torch.equal(inputs[name], plain[name])
