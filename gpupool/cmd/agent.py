"""``gpupool-agent``: one per host."""

import sys

from gpupool.agent.service import Agent, check
from gpupool.cmd import service
from gpupool.model import errors
from gpupool.rpc import transport


def main() -> int:
    """Run until SIGTERM; programs keep their devices while no agent runs."""
    conf = service.configure("gpupool-agent", sys.argv[1:])
    try:
        check(conf)
    except errors.Invalid as exc:
        print(f"gpupool-agent: {exc}", file=sys.stderr)
        return 1
    return service.serve(conf, lambda: Agent(conf, transport.get_transport(conf)))


if __name__ == "__main__":
    sys.exit(main())
