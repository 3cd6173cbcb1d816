"""Operations are counted as by hand, for nothing; a processor's speed is measured in a moment."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.priors.tiny_checkpoints import tiny_pipeline
from unscene.priors.diffusion.architecture import build_scheduler
from unscene.priors.diffusion.checkpoints import Checkpoint
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.diffusion.cost import count_operations, image_step_operations, parameter_count, processor_speed
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter

pytestmark = pytest.mark.usefixtures("one_thread")


class Tiny(nn.Module):
    """A convolution, a linear layer and attention over what comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Linear(8, 12)

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.linear(self.convolution(image).flatten(2).transpose(1, 2))  # N 12 12: tokens channels
        heads = tokens.unflatten(-1, (2, 6)).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(heads, heads[:, :, :5], heads[:, :, :5])


def test_the_count_is_the_one_made_by_hand() -> None:
    tokens, images = 3 * 4, 2
    by_hand = tokens * 8 * 3 * 9 + tokens * 8 * 12 + 2 * 2 * tokens * 5 * 6  # multiplications of an image
    assert count_operations(Tiny(), torch.empty(images, 3, 6, 8)) == 2 * images * by_hand


def test_nothing_is_computed() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(2**20, 2**20), nn.Linear(2**20, 2**20))  # eight terabytes of weights
        inputs = torch.empty(1000, 2**20)
    assert count_operations(network, inputs) == 2 * 2 * 1000 * 2**40
    assert parameter_count(network) == 2 * (2**40 + 2**20)


def model(family: str) -> LatentDiffusionInpainter:
    pipeline = tiny_pipeline(family)
    pipeline.scheduler = build_scheduler()
    config = DiffusionConfig(prompt="a room", guidance=7.5, steps=2)
    return LatentDiffusionInpainter(Checkpoint(pipeline, "tiny"), config)


@pytest.mark.parametrize("family", ["sd-2", "sdxl"])
def test_an_image_s_step_is_what_the_sampler_does(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted again where it is really computed; 40 x 56 pixels are padded."""
    made, counted = model(family), []
    forward = made.pipeline.unet.forward

    def watched(*arguments, **named):
        attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

        def by_hand(query, key, *_, out_shape=None, **__):
            return 4 * query[0] * query[1] * query[2] * key[2] * query[3]

        with FlopCounterMode(display=False, custom_mapping={attention: by_hand}) as counter:
            outcome = forward(*arguments, **named)
        counted.append(counter.get_total_flops())
        return outcome

    monkeypatch.setattr(made.pipeline.unet, "forward", watched)
    images, masks = torch.rand(3, 40, 56, 3), torch.zeros(3, 40, 56, dtype=torch.bool)
    noise = torch.randn(3, 4, *made.latent_size(40, 56))
    for base in (None, 1):
        made.inpaint_latent(images, masks, noise=noise, steps=1, base=base, own_weight=0.2)
    monkeypatch.undo()
    guided = image_step_operations(made, 40, 56, guided=True)
    assert 3 * guided == counted[0] < counted[1]
    assert 3 * image_step_operations(made, 40, 56, guided=True, aligned=True) == counted[1]
    assert 2 * image_step_operations(made, 40, 56) == guided


def test_speed_is_measured_in_a_moment() -> None:
    started = time.monotonic()
    assert 1e8 < processor_speed() < 1e15
    assert time.monotonic() - started < 10
