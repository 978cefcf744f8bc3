"""``gpupool-agent``: one per host."""

import sys

from gpupool.agent.service import Agent
from gpupool.cmd import service
from gpupool.rpc import transport


def main() -> int:
    """Run until SIGTERM; programs keep their devices while no agent runs."""
    conf = service.configure("gpupool-agent", sys.argv[1:])
    return service.serve(conf, lambda: Agent(conf, transport.get_transport(conf)))


if __name__ == "__main__":
    sys.exit(main())
