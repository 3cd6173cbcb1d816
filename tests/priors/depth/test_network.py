"""Depth networks with random weights of their true layout, and the alignment of what they say."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BeitConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
)

from unscene.priors.depth import network as depth_network
from unscene.priors.depth.completion import Estimate, complete_with_estimate
from unscene.priors.depth.network import DepthNetwork
from unscene.priors.prior_error import PriorError

pytestmark = pytest.mark.usefixtures("one_thread")


def tiny_depth_anything() -> DepthAnythingForDepthEstimation:
    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=56, patch_size=14, mlp_ratio=2,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    return DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=backbone, reassemble_hidden_size=16, patch_size=14, neck_hidden_sizes=[4, 8, 16, 16],
            fusion_hidden_size=8, head_hidden_size=4,
        )
    )  # fmt: skip


def tiny_zoedepth() -> ZoeDepthForDepthEstimation:
    backbone = BeitConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=64, patch_size=16,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
        use_relative_position_bias=True, add_fpn=False, use_absolute_position_embeddings=False,
    )  # fmt: skip
    return ZoeDepthForDepthEstimation(
        ZoeDepthConfig(
            backbone_config=backbone, reassemble_factors=[4, 2, 1, 0.5], neck_hidden_sizes=[8, 8, 8, 8],
            fusion_hidden_size=8, bottleneck_features=8, num_attractors=[4, 4, 2, 1], bin_embedding_dim=8,
            bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}],
        )
    )  # fmt: skip


@pytest.fixture(scope="module", params=[tiny_depth_anything, tiny_zoedepth], ids=["depth-anything", "zoedepth"])
def folder(request, tmp_path_factory):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = request.param()
    path = tmp_path_factory.mktemp("depth")
    network.save_pretrained(path)
    return path


def test_an_estimate_has_the_photo_s_size_and_repeats_itself(folder):
    network = DepthNetwork.load(str(folder))
    network.size = (56, 56) if network.multiple == 14 else (64, 64)
    image = torch.rand(45, 61, 3, generator=torch.Generator().manual_seed(0))
    first, second = network.estimate(image), network.estimate(image)
    assert first.values.shape == (45, 61) and first.values.isfinite().all()
    assert torch.equal(first.values, second.values)
    assert first.relative_disparity == (network.multiple == 14) and first.name == folder.name


def test_inputs_keep_the_photo_s_shape_at_the_training_resolution(folder):
    network = DepthNetwork.load(str(folder))
    rows, columns = network._input_size(189, 252)
    assert rows % network.multiple == 0 and columns % network.multiple == 0
    assert rows == pytest.approx(min(network.size), abs=network.multiple)
    assert columns / rows == pytest.approx(252 / 189, rel=0.05)


def test_damaged_and_foreign_networks_are_named(folder, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    state = load_file(str(copy / "model.safetensors"))
    gone = sorted(name for name in state if name.startswith("neck"))[0]
    save_file({k: v for k, v in state.items() if k != gone}, str(copy / "model.safetensors"), {"format": "pt"})
    with pytest.raises(PriorError, match=f"expected tensor '{gone}'"):
        DepthNetwork.load(str(copy))
    (copy / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(PriorError, match=r"model\.safetensors"):
        DepthNetwork.load(str(copy))
    with pytest.raises(PriorError, match="expected field, depth-anything-v2, zoedepth or a folder"):
        DepthNetwork.load("midas")


def test_without_network_there_are_three_ways_forward(monkeypatch):
    def download(hub_id, **settings):
        raise OSError("no route to host")

    monkeypatch.setattr(depth_network, "snapshot_download", download)
    with pytest.raises(PriorError, match=r"no route to host.*Three ways forward: .*--depth field"):
        DepthNetwork.load("zoedepth")


def steps(height: int = 40, width: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth of a floor that recedes, with a box on it inside the hole; and the hole."""
    depth = torch.linspace(8, 2, height)[:, None].expand(height, width).clone()
    depth[16:26, 25:35] = 1.5
    hole = torch.zeros(height, width, dtype=torch.bool)
    hole[12:30, 20:40] = True
    return depth, hole


@pytest.mark.parametrize("disparity", [True, False])
def test_an_estimate_is_found_again_through_scale_offset_and_outliers(disparity):
    truth, hole = steps()
    values = (3.7 / truth + 11.0) if disparity else (0.2 * truth + 5.0)
    generator = torch.Generator().manual_seed(0)
    stray = (torch.rand(truth.shape, generator=generator) < 0.15) & ~hole
    known = torch.where(stray, truth * 6, truth)  # planted outliers in what the field says
    completed = complete_with_estimate(torch.where(hole, 99.0, known), hole, Estimate(values, disparity, "x"))
    torch.testing.assert_close(completed[hole], truth[hole], rtol=0.02, atol=0)  # the box's edges too
    assert torch.equal(completed[~hole], known[~hole])


@pytest.mark.parametrize("disparity", [True, False])
@pytest.mark.parametrize("bad", ["nan", "infinite", "constant", "reversed", "huge"])
def test_whatever_the_estimate_completed_depth_is_finite_and_of_the_scene_s_size(disparity, bad):
    truth, hole = steps()
    values = {
        "nan": torch.where(hole, float("nan"), truth),
        "infinite": torch.where(hole, float("inf"), truth),
        "constant": torch.ones_like(truth),
        "reversed": -truth,
        "huge": torch.where(hole, truth * 1e30, truth),
    }[bad]
    completed = complete_with_estimate(torch.where(hole, 5.0, truth), hole, Estimate(values, disparity, "x"))
    assert completed.isfinite().all() and (completed > 0).all()
    known = truth[~hole]
    assert completed.min() >= known.min() / 4.01 and completed.max() <= known.max() * 4.01
