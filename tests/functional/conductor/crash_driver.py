"""One tick of a conductor in a process that SIGKILLs itself at one request to Placement.

Arguments: database URL, Placement URL, method of PlacementClient, "before" or "after" the real call;
then ids of vGPUs that left their host, or "move" and the ids of a vGPU and the device to which it moves.
"""

import os
import signal
import sys

from gpupool.db.api import Database
from gpupool.placement.client import PlacementClient
from tests.functional.conductor.lab import Lab, new_conf
from tests.functional.placement.faults import client_of


def deadly(client: PlacementClient, method: str, when: str) -> None:
    """Kill this process at ``method``: before Placement hears of it, or right after it answered."""
    real = getattr(client, method)

    def call(*args: object) -> None:
        if when == "after":
            real(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(client, method, call)


def main() -> None:
    database_url, placement_url, method, when, *gone = sys.argv[1:]
    client = client_of(placement_url, timeout=30)
    deadly(client, method, when)
    lab = Lab(new_conf(), Database.from_url(database_url), client)
    if gone and gone[0] == "move":
        lab.made.moving.move(*gone[1:])
    lab.made.outbox.add([], lab.vgpus(id=gone))
    lab.serve()


if __name__ == "__main__":
    main()
