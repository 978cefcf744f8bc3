"""Logs the failure of one item, and goes on with the rest."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from gpupool.model import errors

LOG = logging.getLogger(__name__)


@contextmanager
def isolated(what: str) -> Iterator[None]:
    """Log what fails in the block, about ``what``, and go on after it.

    Unavailable is raised all the same: whoever comes next would meet it too.
    """
    try:
        yield
    except errors.Unavailable:
        raise
    except errors.GpupoolError as exc:
        LOG.warning("%s: %s", what, exc)
    except Exception:
        LOG.exception("%s: failed", what)
