"""Shap-E: a mesh from one photo, by diffusion over the weights of an implicit function (Jun and Nichol 2023)."""

# diffusers and transformers annotate many arguments and results more narrowly than they behave
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unscene.priors.diffusion.checkpoints import read_network  # first: it tells transformers to be quiet

# isort: split
import torch
from diffusers import HeunDiscreteScheduler, PriorTransformer, ShapEImg2ImgPipeline
from diffusers.pipelines.shap_e import ShapERenderer
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPVisionModel

from unscene.priors.diffusion.frozen_parts import frozen
from unscene.priors.diffusion.hub_parts import locate_parts, weight_file
from unscene.priors.novel_views.photo_token import CLIP_DEVIATION, CLIP_MEAN
from unscene.priors.prior_error import PriorError

PUBLISHED: dict[str, tuple[str, ...]] = {
    # the main branch has the renderer as a pickle only; its maintainers' safetensors wait in a pull request
    "openai/shap-e-img2img": ("openai/shap-e-img2img@refs/pr/8", "openai/shap-e-img2img"),
}
NETWORKS: dict[str, Any] = {
    "prior": PriorTransformer,
    "image_encoder": CLIPVisionModel,
    "shap_e_renderer": ShapERenderer,
}
SIZE = 256  # pixels, side of a photo worth giving: CLIP sees 224
WAYS_FORWARD = (
    "connect to the network and repeat the command, give a folder with such a model, "
    "or take a method that needs no weights from the network"
)


@dataclass(frozen=True)
class ColoredMesh:
    """Triangles, counterclockwise seen from outside, with a colour at each vertex.

    vertices: V 3 float32, right-handed, z up, in [-1, 1]; faces: F 3 int64; colors: V 3 float32, sRGB in [0, 1].
    """

    vertices: Tensor
    faces: Tensor
    colors: Tensor


@dataclass
class ShapE:
    """The pipeline; make one with `load_shap_e`."""

    pipeline: ShapEImg2ImgPipeline
    name: str
    grid: int = 128
    """Samples of the signed distance along each axis, from which the mesh is made."""

    @torch.no_grad()
    def reconstruct(
        self, image: Tensor, *, generator: torch.Generator, steps: int = 64, guidance: float = 3.0
    ) -> ColoredMesh:
        """The object in a photo.

        image: H W 3 in [0, 1], on white; steps: of Heun's method, of two evaluations each; guidance: classifier-free,
        the published default. The mesh is in the object's own axes, z up, as the training set's objects were: which of
        its sides the photo shows, the model does not say. Raises PriorError if there is no surface.
        """
        pixels = clip_pixels(image, self.pipeline.image_encoder.config.image_size)
        latents = self.pipeline(
            pixels,
            generator=generator,
            num_inference_steps=steps,
            guidance_scale=guidance,
            output_type="latent",
        ).images
        # what the pipeline does for output_type "mesh", with a grid of our choice
        decoded = self.pipeline.shap_e_renderer.decode_to_mesh(latents, self.pipeline.device, grid_size=self.grid)
        vertices, faces = decoded.verts.float().cpu(), decoded.faces.cpu()
        channels = torch.stack([decoded.vertex_channels[name] for name in ("R", "G", "B")], -1)
        # the decoder closes every surface, so that the sign of its volume tells which way the triangles face
        if signed_volume(vertices, faces) < 0:
            faces = faces.flip(-1)
        return ColoredMesh(vertices, faces, linear_to_srgb(channels.float().cpu()))


def load_shap_e(source: str | Path = "openai/shap-e-img2img", *, device: str = "cpu") -> ShapE:
    """Load a hub id (with or without @revision) or a diffusers folder, in float32. Raises PriorError."""
    folder, name = locate_parts(source, PUBLISHED, (*NETWORKS, "scheduler"), _check_complete, ways_forward=WAYS_FORWARD)
    networks = {part: frozen(read_network(folder, part, kind)) for part, kind in NETWORKS.items()}
    try:
        scheduler = HeunDiscreteScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True)
    except (OSError, ValueError) as error:
        raise PriorError(f"{folder / 'scheduler'}: expected a noise schedule; fetch the folder again.") from error
    # the image processor of transformers wants torchvision; `clip_pixels` does its work
    pipeline = ShapEImg2ImgPipeline(scheduler=scheduler, image_processor=None, **networks).to(device)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.shap_e_renderer.mesh_decoder.register_forward_hook(_refuse_empty)
    return ShapE(pipeline, name)


def clip_pixels(image: Tensor, side: int) -> Tensor:
    """A photo H W 3 in [0, 1] as CLIP takes it: 1 3 side side, normalised, made square by white borders."""
    height, width = image.shape[:2]
    above, left = (max(height, width) - height) // 2, (max(height, width) - width) // 2
    borders = (left, max(height, width) - width - left, above, max(height, width) - height - above)
    square = F.pad(image.permute(2, 0, 1)[None].float(), borders, value=1.0)
    resized = F.interpolate(square, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    mean, deviation = (resized.new_tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_DEVIATION))
    return (resized - mean) / deviation


def signed_volume(vertices: Tensor, faces: Tensor) -> float:
    """Volume inside a closed surface, V 3 and F 3; negative if its triangles are clockwise seen from outside."""
    first, second, third = (vertices.double()[corner] for corner in faces.unbind(-1))
    return float((first * torch.linalg.cross(second, third)).sum() / 6)


def linear_to_srgb(color: Tensor) -> Tensor:
    """Linear light to sRGB (IEC 61966-2-1), any shape, clamped to [0, 1]."""
    color = color.clamp(0, 1)
    return torch.where(color <= 0.0031308, color * 12.92, 1.055 * color.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def _check_complete(folder: Path) -> None:
    for part in NETWORKS:
        weight_file(folder, part)


def _refuse_empty(decoder: Any, inputs: Any, mesh: Any) -> None:
    if not len(mesh.faces):
        raise PriorError(
            "Shap-E: expected a surface, but what it made of the photo has none; "
            "use a photo of one whole object on white, another seed or a lower guidance."
        )
