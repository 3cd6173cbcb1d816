"""The bundled model as what places copied patches, loaded when it is first asked."""

from __future__ import annotations

import importlib
import threading
from functools import cached_property

import torch
from torch import Tensor

from unscene.priors.diffusion.config import BUNDLED_NAME, DiffusionConfig
from unscene.priors.inpainter import StructureGuide

_MODULE = "unscene.priors.diffusion.latent_diffusion"


class BundledGuide(StructureGuide):
    """A `StructureGuide` whose libraries are imported by a thread of its own, which takes seconds, while a field
    learns; the model itself is loaded by who first asks."""

    def __init__(self, config: DiffusionConfig):
        self.config = config
        threading.Thread(target=importlib.import_module, args=(_MODULE,), daemon=True).start()

    @property
    def name(self) -> str:
        """See `StructureGuide`."""
        return BUNDLED_NAME

    def expected_fill(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """See `StructureGuide`."""
        return self._model.expected_fill(images, masks, generator=generator)

    @cached_property
    def _model(self) -> StructureGuide:
        from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter

        return LatentDiffusionInpainter.load(config=self.config)
