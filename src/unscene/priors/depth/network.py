"""Monocular depth by a network: Depth Anything V2 and ZoeDepth, through transformers.

Depth Anything answers in disparity up to scale and offset, ZoeDepth in metres. Neither is believed about either:
behind a removed object the estimate is aligned to the field's depth, see `complete_with_estimate`; of a single photo
only its shape is used, see `place_object`.
"""

# transformers annotates many arguments more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from huggingface_hub import snapshot_download
from torch import Tensor

from unscene.priors.depth.completion import Estimate
from unscene.priors.diffusion.checkpoints import check_safetensors
from unscene.priors.hub import first_available
from unscene.priors.prior_error import PriorError

NETWORKS: dict[str, tuple[str, ...]] = {  # hub ids in the order in which they are tried
    "depth-anything-v2": (
        "depth-anything/Depth-Anything-V2-Small-hf",
        "depth-anything/Depth-Anything-V2-Base-hf",
        "depth-anything/Depth-Anything-V2-Large-hf",
    ),
    "zoedepth": ("Intel/zoedepth-nyu-kitti", "Intel/zoedepth-nyu"),
}
FILES = ["*.json", "*.safetensors"]
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WAYS_FORWARD = (
    "connect to the network and repeat the command, give the network's folder as --depth, or do without one: `remove` "
    "has the field's own depth, --depth field, and `orbit` takes a depth image, --depth FILE"
)


@dataclass
class DepthNetwork:
    """A depth network and its input conventions; make one with `load`."""

    network: Any
    name: str
    relative: bool
    """Answers in disparity up to scale and offset (Depth Anything) instead of in depth."""
    size: tuple[int, int]
    """Input height and width the network was trained at."""
    multiple: int
    """Input sides are multiples of this many pixels."""
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def load(cls, source: str, *, device: str = "cpu") -> DepthNetwork:
        """`depth-anything-v2`, `zoedepth`, or a folder of either. Raises PriorError."""
        folder, name = locate_depth_network(source)
        for file in folder.glob("*.safetensors"):
            check_safetensors(file)
        try:
            config = transformers.AutoConfig.from_pretrained(folder)
            network, info = transformers.AutoModelForDepthEstimation.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise PriorError(f"{folder}: {str(error).strip().splitlines()[0]}") from error
        if info["missing_keys"]:
            raise PriorError(f"{folder}: expected tensor '{sorted(info['missing_keys'])[0]}', but the file lacks it.")
        kinds = {"depth_anything": (True, MEAN, DEVIATION), "zoedepth": (False, (0.5,) * 3, (0.5,) * 3)}
        if config.model_type not in kinds:
            raise PriorError(
                f"{folder}: expected Depth Anything or ZoeDepth, got a model of type '{config.model_type}'."
            )
        relative, mean, deviation = kinds[config.model_type]
        relative = relative and getattr(config, "depth_estimation_type", "relative") == "relative"
        size, multiple = ((518, 518), 14) if config.model_type == "depth_anything" else ((384, 512), 32)
        network.requires_grad_(False).eval().to(device)
        return cls(network, name, relative, size, multiple, mean, deviation)

    @torch.no_grad()
    def estimate(self, image: Tensor) -> Estimate:
        """image: H W 3 in [0, 1] -> H W."""
        height, width = image.shape[:2]
        pixels = image.permute(2, 0, 1)[None].float()
        pixels = F.interpolate(pixels, self._input_size(height, width), mode="bicubic", antialias=True).clamp(0, 1)
        mean, deviation = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.deviation))
        parameter = next(self.network.parameters())
        answer = self.network(pixel_values=((pixels - mean) / deviation).to(parameter)).predicted_depth
        values = F.interpolate(answer.float().view(1, 1, *answer.shape[-2:]), (height, width), mode="bilinear")
        return Estimate(values[0, 0].cpu(), self.relative, self.name)

    def _input_size(self, height: int, width: int) -> tuple[int, int]:
        """The photo's shape at about the training resolution: its shorter side as long as the network's."""
        scale = min(self.size) / min(height, width)
        rows, columns = (max(1, round(side * scale / self.multiple)) * self.multiple for side in (height, width))
        return rows, columns


def locate_depth_network(source: str, *, offline: bool = False) -> tuple[Path, str]:
    """The network's folder on this machine, downloaded if need be, and its name with its revision."""
    path = Path(source).expanduser()
    if (path / "config.json").is_file():
        return path, path.name
    if source not in NETWORKS:
        raise PriorError(
            f"depth: expected field, {', '.join(NETWORKS)} or a folder with a config.json, got '{source}'."
        )

    def fetch(hub_id: str, local: bool) -> str:
        return snapshot_download(hub_id, allow_patterns=FILES, local_files_only=local)

    wanted = f"the depth network '{source}'"
    return first_available(NETWORKS[source], fetch, offline=offline, wanted=wanted, ways_forward=WAYS_FORWARD)
