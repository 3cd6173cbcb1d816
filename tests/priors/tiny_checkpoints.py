"""Random checkpoints with the true layout of each hub family, scaled down to load in a moment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLInpaintPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from unscene.priors.diffusion.architecture import build_tokenizer

LAYERS = 1  # per block, where the published have two: what takes time here is calling a layer, whatever its width
NOISE: dict[str, Any] = {"steps_offset": 1} | {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}


def tiny_pipeline(family: str, *, channels: int = 9) -> Any:
    """A pipeline of `family` (sd-1.5, sd-2, sdxl) with random weights; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {"sd-1.5": _sd_1_5, "sd-2": _sd_2, "sdxl": _sdxl}[family](channels)


def tiny_checkpoint(family: str, folder: Path) -> Path:
    """The same as a diffusers folder of safetensors."""
    tiny_pipeline(family).save_pretrained(folder, safe_serialization=True)
    return folder


def _sd_1_5(channels: int) -> StableDiffusionInpaintPipeline:
    # Stable Diffusion 1: eight heads at every level, 1x1 convolutions around attention, PNDM
    return _sd(channels, heads=2, linear=False, width=24, scheduler=PNDMScheduler(skip_prk_steps=True, **NOISE))


def _sd_2(channels: int) -> StableDiffusionInpaintPipeline:
    # Stable Diffusion 2: more heads at deeper levels, linear projections, a wider text encoder, DDIM
    return _sd(channels, heads=(1, 2, 4, 4), linear=True, width=32, scheduler=DDIMScheduler(clip_sample=False, **NOISE))


def _sd(channels: int, *, heads, linear: bool, width: int, scheduler) -> StableDiffusionInpaintPipeline:
    tokenizer = build_tokenizer()
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=channels, out_channels=4, layers_per_block=LAYERS,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        block_out_channels=(8, 8, 16, 16), norm_num_groups=4, cross_attention_dim=width,
        attention_head_dim=heads, use_linear_projection=linear,
    )  # fmt: skip
    return StableDiffusionInpaintPipeline(
        vae=_autoencoder(0.18215), unet=unet, tokenizer=tokenizer, scheduler=scheduler,
        text_encoder=CLIPTextModel(_text(tokenizer, width)), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def _sdxl(channels: int) -> StableDiffusionXLInpaintPipeline:
    tokenizer, widths, time_width = build_tokenizer(), (16, 24), 8
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=channels, out_channels=4, layers_per_block=LAYERS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16, 16), norm_num_groups=4, cross_attention_dim=sum(widths),
        transformer_layers_per_block=[1, 1, 2], attention_head_dim=(1, 2, 4), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=time_width,
        projection_class_embeddings_input_dim=6 * time_width + widths[1],
    )  # fmt: skip
    return StableDiffusionXLInpaintPipeline(
        vae=_autoencoder(0.13025, force_upcast=True), unet=unet, scheduler=EulerDiscreteScheduler(**NOISE),
        tokenizer=tokenizer, text_encoder=CLIPTextModel(_text(tokenizer, widths[0])),
        tokenizer_2=build_tokenizer(), text_encoder_2=CLIPTextModelWithProjection(_text(tokenizer, widths[1])),
        add_watermarker=False,
    )  # fmt: skip


def _autoencoder(scaling_factor: float, *, force_upcast: bool = False) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 8, 8, 8), layers_per_block=LAYERS, latent_channels=4, norm_num_groups=4, sample_size=64,
        scaling_factor=scaling_factor, force_upcast=force_upcast,
    )  # fmt: skip


def _text(tokenizer, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, projection_dim=width,
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def write_single_file(pipeline: StableDiffusionInpaintPipeline, file: Path) -> Path:
    """A Stable Diffusion 1 pipeline in one file, under the names of the original release."""
    state = {f"model.diffusion_model.{_unet_name(k)}": v for k, v in pipeline.unet.state_dict().items()}
    for name, value in pipeline.vae.state_dict().items():
        linear = ".attentions." in name and value.ndim == 2  # the original's attention is made of 1x1 convolutions
        state[f"first_stage_model.{_autoencoder_name(name)}"] = value[..., None, None] if linear else value
    for name, value in pipeline.text_encoder.state_dict().items():
        state[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = value
    save_file({name: value.contiguous().clone() for name, value in state.items()}, str(file))
    return file


def _unet_name(name: str) -> str:
    per = LAYERS + 1
    for pattern, original in (
        (r"time_embedding\.linear_1", "time_embed.0"), (r"time_embedding\.linear_2", "time_embed.2"),
        (r"conv_in", "input_blocks.0.0"), (r"conv_norm_out", "out.0"), (r"conv_out", "out.2"),
    ):  # fmt: skip
        name = re.sub(rf"^{pattern}\.", f"{original}.", name)
    moves = (
        (r"down_blocks\.(\d)\.resnets\.(\d)", lambda i, j: f"input_blocks.{per * i + j + 1}.0"),
        (r"down_blocks\.(\d)\.attentions\.(\d)", lambda i, j: f"input_blocks.{per * i + j + 1}.1"),
        (r"down_blocks\.(\d)\.downsamplers\.(0)\.conv", lambda i, j: f"input_blocks.{per * (i + 1)}.0.op"),
        (r"up_blocks\.(\d)\.resnets\.(\d)", lambda i, j: f"output_blocks.{per * i + j}.0"),
        (r"up_blocks\.(\d)\.attentions\.(\d)", lambda i, j: f"output_blocks.{per * i + j}.1"),
        (r"up_blocks\.(\d)\.upsamplers\.(0)", lambda i, j: f"output_blocks.{per * i + LAYERS}.{2 if i else 1}"),
    )
    for pattern, move in moves:
        name = re.sub(f"^{pattern}", lambda m, move=move: move(int(m[1]), int(m[2])), name)
    name = re.sub(r"^mid_block\.attentions\.0", "middle_block.1", name)
    name = re.sub(r"^mid_block\.resnets\.(\d)", lambda m: f"middle_block.{2 * int(m[1])}", name)
    if re.match(r"(input_blocks|output_blocks|middle_block)", name):
        for ours, original in (
            ("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("norm2", "out_layers.0"), ("conv2", "out_layers.3"),
            ("time_emb_proj", "emb_layers.1"), ("conv_shortcut", "skip_connection"),
        ):  # fmt: skip
            if "transformer_blocks" not in name:
                name = name.replace(f".{ours}.", f".{original}.")
    return name


def _autoencoder_name(name: str, depth: int = 4) -> str:
    name = re.sub(r"\bdown_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"\bdown_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"\bup_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{depth - 1 - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"\bup_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{depth - 1 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("conv_shortcut", "nin_shortcut")
    name = name.replace("conv_norm_out", "norm_out")
    if "attn_1" in name:
        names = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
        for ours, original in names.items():
            name = name.replace(f".{ours}.", f".{original}.")
    return name
