"""Segment Anything 2 with random weights of its layout, made small."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Sam2Config, Sam2Model, Sam2VisionConfig
from transformers.models.sam2.configuration_sam2 import (
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2PromptEncoderConfig,
)

from tests.segmentation.test_outlines import DISK, photo
from unscene.priors.prior_error import PriorError
from unscene.segmentation.prompts import Box, Click
from unscene.segmentation.sam2 import Sam2Segmenter

SIZE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    backbone = Sam2HieraDetConfig(
        hidden_size=8, image_size=[SIZE, SIZE], blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 1, 1], window_size_per_stage=[4, 4, 4, 2], global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=backbone.to_dict(), backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=32,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )  # fmt: skip
    config = Sam2Config(
        vision_config=vision.to_dict(),
        prompt_encoder_config=Sam2PromptEncoderConfig(hidden_size=32, image_size=SIZE).to_dict(),
        mask_decoder_config=Sam2MaskDecoderConfig(hidden_size=32, mlp_dim=32, num_attention_heads=2).to_dict(),
    )
    path = tmp_path_factory.mktemp("sam2")
    Sam2Model(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> Sam2Segmenter:
    return Sam2Segmenter.load(str(folder))


def test_a_click_gets_several_proposals_best_first(segmenter: Sam2Segmenter) -> None:
    proposals = segmenter.propose(photo(), [Click(0, 40.5, 30.5)])
    assert len(proposals) <= 3
    assert all(mask.shape == DISK.shape and mask.dtype == bool and mask.any() for mask in proposals)


def test_a_box_gets_one(segmenter: Sam2Segmenter) -> None:
    assert len(segmenter.propose(photo(), [Box(0, 20, 10, 60, 50)])) <= 1


def test_prompts_arrive_at_the_pixels_of_the_stretched_photo(
    segmenter: Sam2Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}
    forward = segmenter.model.forward

    def listen(**inputs):
        asked.update(inputs)
        return forward(**inputs)

    monkeypatch.setattr(segmenter.model, "forward", listen)
    segmenter.propose(photo(), [Click(0, 40, 30), Click(0, 0.5, 0.5, wanted=False)])
    half = [SIZE / 2 - 0.5, SIZE / 2 - 0.5]  # which the model counts from pixel centres
    assert asked["input_points"][0, 0, 0].tolist() == half
    assert asked["input_labels"].tolist() == [[[1, 0]]]
    segmenter.propose(photo(), [Box(0, 0, 0, 80, 60)])
    assert asked["input_boxes"].tolist() == [[[-0.5, -0.5, SIZE - 0.5, SIZE - 0.5]]]


def test_a_refined_mask_is_still_of_the_same_thing(segmenter: Sam2Segmenter) -> None:
    refined = segmenter.refine(photo(), DISK)
    assert (refined & DISK).sum() > 0.4 * (refined | DISK).sum()
    assert not segmenter.refine(photo(), np.zeros_like(DISK)).any()


def test_a_photo_is_embedded_once(segmenter: Sam2Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter.propose(photo(), [Click(0, 40, 30)])
    monkeypatch.setattr(segmenter.model, "get_image_embeddings", None)
    assert segmenter.propose(photo(), [Click(0, 10, 30)])


def test_torchvision_is_not_needed() -> None:
    assert "torchvision" not in sys.modules


def test_a_missing_tensor_is_named(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop("no_memory_embedding")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(PriorError, match="no_memory_embedding"):
        Sam2Segmenter.load(str(tmp_path))


def test_another_model_and_no_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(PriorError, match="expected Segment Anything 2"):
        Sam2Segmenter.load(str(tmp_path))
    with pytest.raises(PriorError, match="segmenter: expected surface"):
        Sam2Segmenter.load("sam3")
