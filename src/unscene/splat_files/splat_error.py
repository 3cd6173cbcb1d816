"""The error of every file of Gaussian splats that cannot be used."""


class SplatError(Exception):
    """What was expected, what came, and what to do, in one paragraph for the user."""
