"""The error of every object, mesh or photo of an object that cannot be used."""


class ObjectError(Exception):
    """What was expected, what came, and what to do, in one paragraph for the user."""
