"""``gpupool-agent``: one per host."""

import sys

from oslo_concurrency import lockutils
from oslo_config import cfg

from gpupool.agent.service import Agent, check
from gpupool.cmd import service
from gpupool.rpc import transport


def _make(conf: cfg.ConfigOpts) -> Agent:
    # Where [oslo_messaging_rabbit] use_queue_manager needs a lock.
    lockutils.set_defaults(conf.agent.state_path)
    return Agent(conf, transport.get_transport(conf))


def main() -> int:
    """Run until SIGTERM; programs keep their devices while no agent runs."""
    return service.serve("gpupool-agent", _make, check)


if __name__ == "__main__":
    sys.exit(main())
