"""Where [database], whose options are oslo.db's, has other defaults."""

from oslo_config import cfg

GROUP = "database"
# Only max_pool_size transactions of one process go on at once; others wait for their turn. More threads
# at work contend for Python's lock: with 32 a conductor spent twice the time on the same claims.
# They wait longer than any lock is waited for (SQLite's minute, InnoDB's 50 s): it is no outage.
DEFAULTS = {"max_overflow": 0, "pool_timeout": 90}


def set_sample_defaults() -> None:
    """List these for oslo-config-generator, where the options of oslo.db are: clients have none."""
    try:
        from oslo_db import options  # noqa: PLC0415 - a host with devices has no database
    except ModuleNotFoundError:
        return

    cfg.set_defaults(options.database_opts, **DEFAULTS)
