"""The error of everything that keeps photos or a video from becoming a scene."""


class CaptureError(ValueError):
    """What was expected, what came, and what to do, in one paragraph for the user."""
