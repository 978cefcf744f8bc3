"""The time in a transaction: that of the clock of its database, so that all services share one."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.model.clock import Clock

_KEY = "gpupool_clock"
# What asks a server for its clock, naive UTC. SQLite has none but the machine's, to milliseconds only.
_ASK = {
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "mariadb": "SELECT UTC_TIMESTAMP(6)",
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
}


def follow(session: Session, clock: Clock) -> None:
    """Attach ``clock`` to the session, whose ``now`` it tells from then on."""
    session.info[_KEY] = clock


def now(session: Session) -> datetime:
    """Return the time, naive UTC."""
    clock: Clock = session.info[_KEY]
    return clock.now()


def observe(session: Session) -> None:
    """Set the session's clock by the database server's."""
    clock: Clock = session.info[_KEY]
    ask = _ASK.get(session.get_bind().dialect.name)
    if ask is None:
        clock.observe(clock.wall())
        return
    # The first statement of a transaction may have to connect first.
    session.execute(sa.text("SELECT 1"))
    before = clock.monotonic()
    moment: datetime = session.execute(sa.text(ask)).scalar_one()
    clock.observe(moment, clock.monotonic() - before)
