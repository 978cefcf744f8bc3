"""Why a standalone can't start."""


class CannotStart(Exception):
    """What stands in the way, in words for whoever started this."""
