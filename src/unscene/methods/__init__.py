"""The methods: one paper, one file. Adding one means its file and a line here."""

from unscene.methods.in_n_out import InNOutConfig, check_in_n_out, in_n_out
from unscene.methods.in_n_out_splats import in_n_out_splats
from unscene.methods.infusion import InfusionConfig, check_infusion, infusion
from unscene.methods.inpaint3d import Inpaint3dConfig, check_inpaint3d, inpaint3d
from unscene.methods.inpaint_nerf360 import InpaintNerf360Config, inpaint_nerf360
from unscene.methods.mald_nerf import MaldNerfConfig, check_mald_nerf, mald_nerf
from unscene.methods.naive import NaiveConfig, naive
from unscene.methods.nerfiller import NerfillerConfig, check_nerfiller, nerfiller
from unscene.methods.spin_nerf import SpinNerfConfig, spin_nerf
from unscene.stages.splat_learner import SplatRemovalConfig

METHODS = {
    "in-n-out": in_n_out,
    "infusion": infusion,
    "inpaint-nerf360": inpaint_nerf360,
    "inpaint3d": inpaint3d,
    "mald-nerf": mald_nerf,
    "naive": naive,
    "nerfiller": nerfiller,
    "spin-nerf": spin_nerf,
}

__all__ = [
    "METHODS",
    "InNOutConfig",
    "InfusionConfig",
    "Inpaint3dConfig",
    "InpaintNerf360Config",
    "MaldNerfConfig",
    "NaiveConfig",
    "NerfillerConfig",
    "SpinNerfConfig",
    "SplatRemovalConfig",
    "check_in_n_out",
    "check_infusion",
    "check_inpaint3d",
    "check_mald_nerf",
    "check_nerfiller",
    "in_n_out_splats",
]
