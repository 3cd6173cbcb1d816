"""What a removal cannot do, said before anything is written."""

from __future__ import annotations

from unscene.jobs.given_splat import GivenSplat
from unscene.jobs.remove_options import RemoveOptions
from unscene.jobs.running import check_customizable
from unscene.methods import (
    check_in_n_out,
    check_infusion,
    check_inpaint3d,
    check_mald_nerf,
    check_nerfiller,
)
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene, SceneError
from unscene.stages.method_error import MethodError


def check_request(
    scene: Scene, options: RemoveOptions, splat: GivenSplat | None, *, on_splats: bool, takes_over: bool
) -> None:
    """Raise SceneError without masks, MethodError for options that do not go together. takes_over: whether another
    run's reconstruction is to be used."""
    if scene.masks is None:
        raise SceneError(
            f"{scene.name}: expected masks of the object to remove, found none; put one per photo (white = remove) "
            "into masks/, or name their folder with --masks."
        )
    if splat is not None and options.method != "in-n-out":
        raise MethodError(
            f"--method {options.method}: expected in-n-out, which alone takes an object out of a given splat; follow "
            "that, or leave out --splat (--field splats has all methods fit Gaussians to the photos)."
        )
    if on_splats and (changed := options.settings_of_rays):
        raise MethodError(
            f"{', '.join(changed)}: expected a radiance field, whose rays these are about; leave them out, or --field "
            "splats and --splat. Gaussians have settings of their own, --splats.*."
        )
    if on_splats and options.clean:
        raise MethodError(
            "--clean: expected a radiance field, whose density it drops where no photo supports it; leave out --clean, "
            "or --field splats and --splat."
        )
    if splat is not None and takes_over:
        raise MethodError(
            "--start-from: expected a scene that is reconstructed from its photos, but a given splat is what it is; "
            "leave out --start-from, or --splat."
        )
    if options.grow_shadow and splat is not None and not splat.has_photos:
        raise MethodError(
            "--grow-shadow: expected photos to look for shadows in, got poses and masks alone; leave it out, or give "
            "the photos too."
        )


def check_prior(prior: Inpainter, scene: Scene, options: RemoveOptions) -> None:
    """Raise MethodError or PriorError where the method cannot work with this prior, or with these settings."""
    if options.method == "mald-nerf":
        check_mald_nerf(prior, options.mald_nerf)
    elif options.method == "inpaint3d":
        check_inpaint3d(prior, options.inpaint3d, offload=options.diffusion.offload)
    elif options.method == "in-n-out":
        check_in_n_out(scene, options.in_n_out)
    elif options.method == "infusion":
        check_infusion(scene, options.infusion)
    elif options.method == "nerfiller":
        check_nerfiller(prior, options.nerfiller)
    if options.customizes:
        check_customizable(prior, options.diffusion)
