"""Which Gaussians are the object: those that are drawn inside its masks, counted by their weight in the pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.fields.splat_raster import composite
from unscene.fields.splats import Shot
from unscene.geometry.cameras import Cameras
from unscene.geometry.gaussians import Gaussians
from unscene.geometry.masks import in_frame
from unscene.stages.method_error import MethodError

OBJECT = 0.3  # share of its weight inside the masks from which on a Gaussian is the object's
LITTLE = 0.5  # pixels that a Gaussian covers in all views together, below which its weight says nothing
CENTRED = 0.5  # share of the views in which such a one lies inside the masks, from which on it is the object's
LEFT = 0.01  # of all weight outside the masks, that must be left of a scene without its object


@dataclass(frozen=True)
class RenderedWeights:
    """What Gaussians are drawn with. inside: N, pixels' worth of weight inside masks, of all views together; total: N,
    everywhere; centred: N in [0, 1], the share of the views that look at a Gaussian whose mask covers its mean."""

    inside: Tensor
    total: Tensor
    centred: Tensor

    @property
    def share(self) -> Tensor:
        """N in [0, 1]: the share of each Gaussian's weight that lies inside the masks."""
        return self.inside / self.total.clamp_min(1e-6)


def rendered_weights(gaussians: Gaussians, cameras: Cameras, views: Tensor, masks: Tensor) -> RenderedWeights:
    """With what weights Gaussians are drawn in ``views``, and with how much of it inside the masks (N H W bool).

    A Gaussian's weight in a set of pixels is the gradient of a channel, drawn and summed over them, by that Gaussian's
    value: one pass backward tells it of all.
    """
    still = Gaussians(*(tensor.detach() for tensor in gaussians.tensors))
    channels = still.means.new_zeros(len(still), 2).requires_grad_()
    seen, covered = (torch.zeros_like(still.means[:, 0]) for _ in range(2))
    for view in views.tolist():
        shot = Shot.of(cameras, view)
        image = shot.bent(composite(still, shot.camera, channels).image)
        mask = masks[view].to(image)
        image.backward(torch.stack([mask, torch.ones_like(mask)], -1))
        frame = in_frame(cameras, view, still.means)
        seen += frame.inside
        covered += frame.inside & masks[view].flatten()[frame.pixel]
    assert channels.grad is not None
    weights = channels.grad
    return RenderedWeights(weights[:, 0], weights[:, 1], covered / seen.clamp_min(1))


def select_object(weights: RenderedWeights, masks: Tensor) -> Tensor:
    """N bool: which Gaussians are what the masks (N H W bool) cover.

    Of those that are hardly drawn, as inside of a thing, their means decide: taken out with it, or they would appear.
    Raises MethodError for masks that select nothing, or everything.
    """
    little = weights.total < LITTLE
    selected = torch.where(little, weights.centred > CENTRED, weights.share > OBJECT)
    shown = selected & ~little
    if not shown.any():
        raise MethodError(
            f"masks: expected them to cover Gaussians of the splat, but of none of {len(selected):,} lies more than "
            f"{OBJECT:.0%} of what is drawn of it inside them (they cover {masks.float().mean():.1%} of the views); "
            "check that masks and cameras belong together, and that white is what to remove."
        )
    outside = weights.total - weights.inside
    if outside[~selected].sum() < LEFT * outside.sum() or (shown | little).all():
        raise MethodError(
            f"masks: expected them to leave something of the scene, but they select {int(selected.sum()):,} of "
            f"{len(selected):,} Gaussians, all that is seen; if black and white are swapped, invert the masks."
        )
    return selected
