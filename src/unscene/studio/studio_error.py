"""What keeps the studio's page from opening."""


class StudioError(Exception):
    """The page cannot be shown: what was expected, what came, what to do."""
