"""The error of every prior that cannot be had or used."""


class PriorError(ValueError):
    """What was expected, what came, and what to do, in one paragraph for the user."""
