"""Repairs of the list of services."""

from datetime import timedelta

from gpupool.db import services, times
from gpupool.db.api import Database

# For how long a process that was killed is shown.
_PURGED = timedelta(hours=1)


def purge(database: Database) -> None:
    """Delete rows of processes that were killed long ago: the others delete their own."""
    with database.reader() as session:
        older_than = times.now(session) - _PURGED
        if not services.seen_before(session, older_than):
            return
    with database.writer() as session:
        services.purge(session, older_than)
