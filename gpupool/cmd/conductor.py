"""``gpupool-conductor``: one or more, on any hosts."""

import sys

from oslo_config import cfg

from gpupool.cmd import service
from gpupool.conductor.service import Conductor
from gpupool.db.api import Database
from gpupool.placement import client as placement_client
from gpupool.rpc import transport


def _make(conf: cfg.ConfigOpts) -> Conductor:
    database = Database.from_conf(conf)
    placement = placement_client.from_conf(conf)
    return Conductor(conf, database, placement, transport.get_transport(conf))


def main() -> int:
    """Run until SIGTERM; claims and programs stay while no conductor runs."""
    return service.serve("gpupool-conductor", _make)


if __name__ == "__main__":
    sys.exit(main())
