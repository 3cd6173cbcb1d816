"""Zero-1-to-3 as others publish it: diffusers' and transformers' parts side by side, in either of two layouts.

kxhit/zero123-hf (and diffusers' community pipeline) keep the layer that mixes image and pose in `cc_projection`,
threestudio's conversion keeps it in `clip_camera_projection`; all else agrees. Stable Zero123 has the same layout, but
its last pose number is the source's polar angle, so it is none of these.
"""

# transformers annotates many arguments more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn
from transformers import CLIPVisionModelWithProjection

from unscene.priors.diffusion.checkpoints import check_safetensors, read_network
from unscene.priors.diffusion.frozen_parts import frozen, read_unet_and_autoencoder
from unscene.priors.diffusion.hub_parts import locate_parts, weight_file
from unscene.priors.novel_views.photo_token import POSE_NUMBERS
from unscene.priors.prior_error import PriorError

# kxic's branches hold pickles only; the hub's conversions to safetensors wait in pull requests
LARGE = ("ashawkey/zero123-xl-diffusers", "bennyguo/zero123-xl-diffusers", "kxic/zero123-xl@refs/pr/1")
FIRST = ("bennyguo/zero123-diffusers", "kxic/zero123-165000@refs/pr/1")
PUBLISHED: dict[str, tuple[str, ...]] = {  # hub ids in the order in which they are tried
    "zero123": (*LARGE, *FIRST),
    "zero123-xl": LARGE,
    "zero123-165000": FIRST[1:],
}
PUBLISHED_SIZE = 256
PUBLISHED_DISTANCE = 1.85  # the middle of the 1.5 to 2.2 of its training's cameras
NETWORKS = ("unet", "vae", "image_encoder")
PROJECTIONS = {"cc_projection": "projection", "clip_camera_projection": "proj"}  # a folder and its layer's name
WAYS_FORWARD = (
    "connect to the network and repeat the command, give a folder with such a model, "
    "or train one of your own: `unscene train zero123`"
)


def is_published(folder: Path) -> bool:
    """Whether a folder has the layout of a published model."""
    return any((folder / part).is_dir() for part in PROJECTIONS)


def read_published(source: str | Path) -> tuple[Any, Any, Any, nn.Linear, Any, str]:
    """U-Net, autoencoder, image encoder, camera projection, noise schedule and name.

    source: a name in `PUBLISHED`, a hub id (with or without @revision) or a folder. Networks are frozen, in float32.
    Raises PriorError naming file and tensor.
    """
    parts = (*NETWORKS, *PROJECTIONS, "scheduler")
    folder, name = locate_parts(source, PUBLISHED, parts, _check_complete, ways_forward=WAYS_FORWARD)
    unet, autoencoder, scheduler = read_unet_and_autoencoder(folder, extra_channels=0)
    image_encoder = frozen(read_network(folder, "image_encoder", CLIPVisionModelWithProjection))
    inputs = image_encoder.config.projection_dim + POSE_NUMBERS
    projection = _read_projection(folder, inputs, unet.config.cross_attention_dim)
    return unet, autoencoder, image_encoder, projection, scheduler, name


def _check_complete(folder: Path) -> None:
    for part in (*NETWORKS, _projection_part(folder)):
        weight_file(folder, part)


def _projection_part(folder: Path) -> str:
    part = next((part for part in PROJECTIONS if (folder / part).is_dir()), None)
    if part is None:
        raise PriorError(
            f"{folder}: expected Zero-1-to-3's camera projection in {' or '.join(PROJECTIONS)}, found neither."
        )
    return part


def _read_projection(folder: Path, inputs: int, outputs: int) -> nn.Linear:
    part = _projection_part(folder)
    file, layer = weight_file(folder, part), PROJECTIONS[part]
    found = check_safetensors(file)
    for name, shape in ((f"{layer}.weight", (outputs, inputs)), (f"{layer}.bias", (outputs,))):
        if name not in found:
            raise PriorError(f"{file}: expected tensor '{name}', but the file lacks it.")
        if found[name] != shape:
            raise PriorError(f"{file}: expected tensor '{name}' of shape {shape}, got {found[name]}.")
    tensors = load_file(str(file))
    projection = nn.Linear(inputs, outputs)
    projection.load_state_dict({name: tensors[f"{layer}.{name}"].float() for name in ("weight", "bias")})
    return projection.requires_grad_(False)
