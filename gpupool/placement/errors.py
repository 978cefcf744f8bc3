"""The two kinds of 409 that callers tell apart; both are Conflicts."""

from gpupool.model import errors


class NoCapacity(errors.Conflict):
    """Somebody else was faster, or the device shrank, is reserved or gone: refresh and plan again."""


class ConcurrentUpdate(errors.Conflict):
    """A generation moved between reading and writing: read again, then write."""
