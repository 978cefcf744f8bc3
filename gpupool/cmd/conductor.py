"""``gpupool-conductor``: one or more, on any hosts."""

import sys

from oslo_config import cfg

from gpupool.cmd import service
from gpupool.conductor.claims import limits
from gpupool.conductor.leader import Leader
from gpupool.conductor.service import Conductor
from gpupool.db.api import Database
from gpupool.placement import client as placement_client
from gpupool.rpc import transport


def _make(conf: cfg.ConfigOpts) -> Conductor:
    database = Database.from_conf(conf)
    placement = placement_client.from_conf(conf)
    return Conductor(conf, database, placement, transport.get_transport(conf))


def check(conf: cfg.ConfigOpts) -> None:
    """Raise Invalid or Unavailable when a conductor of this configuration can't start."""
    database = Database.from_conf(conf)
    try:
        database.check()
    finally:
        database.close()
    placement_client.from_conf(conf)
    limits.from_conf(conf)
    Leader(conf, database.place)
    transport.get_transport(conf)


def main() -> int:
    """Run until SIGTERM; claims and programs stay while no conductor runs."""
    return service.serve("gpupool-conductor", _make, check)


if __name__ == "__main__":
    sys.exit(main())
