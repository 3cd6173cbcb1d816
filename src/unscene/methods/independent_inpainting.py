"""One view inpainted on its own: by its pixels, or by its name where the inpaintings were made elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from unscene.priors.files import FilesInpainter
from unscene.priors.inpainter import Inpainter
from unscene.priors.prior_error import PriorError
from unscene.scenes.scene import Scene


def inpaint_view(prior: Inpainter, scene: Scene, view: int, hole: Tensor, generator: torch.Generator) -> Tensor:
    """A view's photo with its hole (H W bool) filled, H W 3."""
    image = scene.image(view)
    if isinstance(prior, FilesInpainter):
        return prior.inpaint_named([scene.names[view]], image[None], hole[None])[0]
    return prior.inpaint(image[None], hole[None], generator=generator)[0]


def inpaintable_views(prior: Inpainter, scene: Scene, views: Tensor) -> Tensor:
    """Those of ``views`` that the prior can inpaint: all, or those whose inpaintings there are."""
    if not isinstance(prior, FilesInpainter):
        return views
    prior.check_names(list(scene.names))
    known = torch.tensor([prior.has(scene.names[view]) for view in views.tolist()], dtype=torch.bool)
    if not known.any():
        raise PriorError(f"{prior.name}: expected images named like the scene's photos ({scene.names[0]}), found none.")
    return views[known]
