"""The methods: one paper, one file. Adding one means its file and a line here."""

from unscene.methods.in_n_out import InNOutConfig, in_n_out
from unscene.methods.mald_nerf import MaldNerfConfig, check_mald_nerf, mald_nerf
from unscene.methods.naive import NaiveConfig, naive
from unscene.methods.nerfiller import NerfillerConfig, check_nerfiller, nerfiller
from unscene.methods.spin_nerf import SpinNerfConfig, spin_nerf

METHODS = {"in-n-out": in_n_out, "mald-nerf": mald_nerf, "naive": naive, "nerfiller": nerfiller, "spin-nerf": spin_nerf}

__all__ = [
    "METHODS",
    "InNOutConfig",
    "MaldNerfConfig",
    "NaiveConfig",
    "NerfillerConfig",
    "SpinNerfConfig",
    "check_mald_nerf",
    "check_nerfiller",
]
