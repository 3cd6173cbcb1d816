"""The methods: one paper, one file. Adding one means its file and a line here."""

from unscene.methods.in_n_out import InNOutConfig, in_n_out
from unscene.methods.naive import NaiveConfig, naive

METHODS = {"in-n-out": (in_n_out, InNOutConfig), "naive": (naive, NaiveConfig)}
