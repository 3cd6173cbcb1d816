"""Segment Anything 2 (Ravi et al. 2024) through transformers: objects and outlines in single photos.

Its image processor needs torchvision, which Unscene does without: resizing and normalising are a few lines.
"""

# transformers annotates many arguments more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from huggingface_hub import snapshot_download
from torch import Tensor

from unscene.priors.diffusion.checkpoints import check_safetensors
from unscene.priors.hub import first_available
from unscene.priors.prior_error import PriorError
from unscene.segmentation.outlines import BAND, drawn_along_edges
from unscene.segmentation.prompts import Box, Click

HUB_IDS = ("facebook/sam2.1-hiera-tiny", "facebook/sam2.1-hiera-small", "facebook/sam2.1-hiera-base-plus",
           "facebook/sam2.1-hiera-large")  # fmt: skip
FILES = ["*.json", "*.safetensors"]
KINDS = ("sam2", "sam2_video")  # the published checkpoints are of the video model, which holds the image model's
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CERTAIN = 10.0  # logit of a pixel of a mask that is given as a prompt
OTHER_OBJECT = 0.5  # overlap with the rough mask below which an answer is of something else
KEPT_EMBEDDINGS = 96  # photos, some 8 MB each


class Sam2Segmenter:
    """A PhotoSegmenter; make one with `load`."""

    def __init__(self, model: Any, name: str):
        self.model, self.name = model, name
        self.size = int(model.config.prompt_encoder_config.image_size)
        self._embeddings: OrderedDict[bytes, list[Tensor]] = OrderedDict()
        self._lock = Lock()

    @staticmethod
    def load(source: str = "sam2", *, device: str = "cpu") -> Sam2Segmenter:
        """`sam2`, a hub id or a folder. Raises PriorError."""
        folder, name = locate_sam2(source)
        for file in folder.glob("*.safetensors"):
            check_safetensors(file)
        try:
            kind = transformers.AutoConfig.from_pretrained(folder, local_files_only=True).model_type
            if kind not in KINDS:
                raise PriorError(f"{folder}: expected Segment Anything 2, got a model of type '{kind}'.")
            model, info = transformers.Sam2Model.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
        except (ValueError, RuntimeError, OSError) as error:
            if isinstance(error, PriorError):
                raise
            raise PriorError(f"{folder}: {str(error).strip().splitlines()[0]}") from error
        if info["missing_keys"]:
            raise PriorError(f"{folder}: expected tensor '{sorted(info['missing_keys'])[0]}', but the file lacks it.")
        return Sam2Segmenter(model.requires_grad_(False).eval().to(device), name)

    def propose(self, image: np.ndarray, prompts: Sequence[Click | Box]) -> list[np.ndarray]:
        """Up to three masks of one photo, by falling expected quality."""
        scale = self._scale(image)
        clicks = [prompt for prompt in prompts if isinstance(prompt, Click)]
        boxes = [prompt for prompt in prompts if isinstance(prompt, Box)]
        inputs: dict[str, Tensor] = {}
        if clicks:
            points = np.array([[click.x, click.y] for click in clicks]) * scale - 0.5  # it counts from pixel centres
            inputs["input_points"] = self._tensor(points)[None, None]
            inputs["input_labels"] = torch.tensor([[[int(click.wanted) for click in clicks]]], device=self.model.device)
        if boxes:
            inputs["input_boxes"] = self._box(boxes[0], scale)
        logits, quality = self._answer(image, inputs, several=not boxes)
        return [logits[index] > 0 for index in quality.argsort()[::-1] if (logits[index] > 0).any()]

    def refine(self, image: np.ndarray, mask: np.ndarray, band: int = BAND) -> np.ndarray:
        """The outline that the model sees where the rough mask is; GrabCut's if the model sees another object there."""
        if not mask.any():
            return mask
        scale = self._scale(image)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = Box(0, columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        size = (4 * self.size // 16, 4 * self.size // 16)
        hint = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        inputs = {
            "input_boxes": self._box(box, scale),
            "input_masks": self._tensor(CERTAIN * (2 * hint - 1))[None, None],
        }
        logits, _ = self._answer(image, inputs, several=False)
        found = logits[0] > 0
        if (found & mask).sum() < OTHER_OBJECT * (found | mask).sum():
            return drawn_along_edges(image, mask, band)
        return found

    @torch.no_grad()
    def _answer(
        self, image: np.ndarray, inputs: dict[str, Tensor], *, several: bool
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Logits K H W of a photo's pixels and expected qualities K."""
        with self._lock:
            embeddings = [part.to(self.model.dtype) for part in self._embed(image)]
            answer = self.model(image_embeddings=embeddings, multimask_output=several, **inputs)
        logits = F.interpolate(answer.pred_masks[0].float(), image.shape[:2], mode="bilinear", align_corners=False)
        return logits[0].cpu().numpy(), answer.iou_scores[0, 0].float().cpu().numpy()

    def _embed(self, image: np.ndarray) -> list[Tensor]:
        """The photo's embeddings, from before if it has been asked about."""
        key = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        if key not in self._embeddings:
            pixels = self._tensor(image).permute(2, 0, 1)[None] / 255
            pixels = F.interpolate(pixels, (self.size, self.size), mode="bilinear", antialias=True)
            mean, deviation = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
            parts = self.model.get_image_embeddings(((pixels - mean) / deviation).to(self.model.dtype))
            self._embeddings[key] = [part.half() for part in parts]
        self._embeddings.move_to_end(key)
        while len(self._embeddings) > KEPT_EMBEDDINGS:
            self._embeddings.popitem(last=False)
        return self._embeddings[key]

    def _scale(self, image: np.ndarray) -> np.ndarray:
        """What pixel positions (x, y) are multiplied by: the model sees photos stretched to a square."""
        return np.array([self.size / image.shape[1], self.size / image.shape[0]])

    def _box(self, box: Box, scale: np.ndarray) -> Tensor:
        corners = np.array([[box.left, box.top], [box.right, box.bottom]]) * scale - 0.5
        return self._tensor(corners.reshape(1, 1, 4))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).float().to(self.model.device)


def locate_sam2(source: str, *, offline: bool = False) -> tuple[Path, str]:
    """The model's folder on this machine, downloaded if need be, and its name with its revision."""
    path = Path(source).expanduser()
    if (path / "config.json").is_file():
        return path, path.name
    if source != "sam2" and source.count("/") != 1:
        raise PriorError(
            f"segmenter: expected surface, sam2, an id of the hub or a folder with a config.json, got '{source}'."
        )

    def fetch(hub_id: str, local: bool) -> str:
        return snapshot_download(hub_id, allow_patterns=FILES, local_files_only=local)

    ways = (
        "connect to the network and repeat the command, give the model's folder as --segmenter, or leave the option "
        "out: the surface tells objects apart without weights"
    )
    ids = HUB_IDS if source == "sam2" else (source,)
    return first_available(ids, fetch, offline=offline, wanted="Segment Anything 2", ways_forward=ways)
