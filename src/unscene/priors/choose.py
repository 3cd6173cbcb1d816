"""The priors that ship with the package, by the names users give them."""

from __future__ import annotations

from typing import Literal

from unscene.priors.classical import ExemplarInpainter, NavierStokesInpainter, ShiftMapInpainter, TeleaInpainter
from unscene.priors.inpainter import Inpainter

PriorName = Literal["bundled", "exemplar", "shift-map", "telea", "navier-stokes"]


def load_prior(name: PriorName) -> Inpainter:
    """The prior a user asked for."""
    match name:
        case "bundled":
            from unscene.priors.latent_diffusion import LatentDiffusionInpainter  # loads diffusers: seconds

            return LatentDiffusionInpainter.load()
        case "exemplar":
            return ExemplarInpainter()
        case "shift-map":
            return ShiftMapInpainter()
        case "telea":
            return TeleaInpainter()
        case "navier-stokes":
            return NavierStokesInpainter()
