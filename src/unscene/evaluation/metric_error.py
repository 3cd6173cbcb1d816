"""The error of every metric that cannot be had or measured."""


class MetricError(ValueError):
    """What was expected, what came, and what to do, in one paragraph for the user."""
