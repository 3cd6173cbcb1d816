"""Peak accelerator memory and time per step of Stable Diffusion 1.5's layout, random weights, with ILA.

Weights do not matter for either number, so nothing is downloaded.
"""

# diffusers annotates many arguments more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import tyro
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from unscene.priors.diffusion.architecture import build_tokenizer
from unscene.priors.diffusion.checkpoints import Checkpoint
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter


@dataclass
class AcceleratorMemory:
    """What to measure."""

    batch: int = 8
    """Views at once."""
    size: int = 512
    """Side of the views, pixels."""
    steps: int = 4
    """Sampler steps; memory does not depend on them."""
    guidance: float = 1.0
    """Above 1 the batch is doubled for classifier-free guidance."""
    slicing: bool = False
    """Attention of one head at a time, decoding of one view at a time."""


def stable_diffusion_layout(device: str) -> StableDiffusionInpaintPipeline:
    """Stable Diffusion 1.5 inpainting, true sizes, random float16 weights; its own tokenizer alone is replaced."""
    tokenizer = build_tokenizer()
    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=64, in_channels=9, out_channels=4, layers_per_block=2,
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8,
        ).half()  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4, sample_size=512,
        ).half()  # fmt: skip
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer), hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                num_attention_heads=12, max_position_embeddings=77, eos_token_id=tokenizer.eos_token_id,
            )
        ).half()  # fmt: skip
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False)
    pipeline = StableDiffusionInpaintPipeline(
        vae=vae, unet=unet, text_encoder=text, tokenizer=tokenizer, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    return pipeline.to(device)


def measure(options: AcceleratorMemory) -> dict[str, float]:
    """Fill `batch` views with ILA switched on; GB at the peak, and seconds per sampler step."""
    pipeline = stable_diffusion_layout("cuda")
    if options.slicing:
        pipeline.enable_attention_slicing()
        pipeline.vae.enable_slicing()
    config = DiffusionConfig(prompt="a photo", guidance=options.guidance)  # without prompts guidance is left out
    model = LatentDiffusionInpainter(Checkpoint(pipeline, "sd-1.5 layout"), config)
    side = options.size
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(options.batch, side, side, 3, generator=generator)
    masks = torch.zeros(options.batch, side, side, dtype=torch.bool)
    masks[:, side // 4 : side // 2, side // 4 : side // 2] = True
    noise = torch.randn(options.batch, 4, *model.latent_size(side, side), generator=generator)

    def seconds(steps: int) -> float:
        torch.cuda.synchronize()
        began = time.perf_counter()
        model.inpaint_latent(images, masks, noise=noise, steps=steps, base=0, own_weight=0.6)
        torch.cuda.synchronize()
        return time.perf_counter() - began

    seconds(1)
    torch.cuda.reset_peak_memory_stats()
    short, long = seconds(1), seconds(1 + options.steps)
    return {
        "weights_gb": torch.cuda.memory_allocated() / 2**30,
        "peak_gb": torch.cuda.max_memory_allocated() / 2**30,
        "reserved_gb": torch.cuda.max_memory_reserved() / 2**30,
        "seconds_per_step": (long - short) / options.steps,
    }


if __name__ == "__main__":
    chosen = tyro.cli(AcceleratorMemory)
    print(torch.cuda.get_device_name(), chosen)
    print({name: round(value, 3) for name, value in measure(chosen).items()})
