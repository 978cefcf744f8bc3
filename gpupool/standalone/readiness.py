"""Whether the hosts of a standalone that starts are ready, and what they wait for."""

import sys
import time
from collections.abc import Mapping, Set
from datetime import datetime

from gpupool.db import devices, host_keys, hosts
from gpupool.db.api import Database
from gpupool.model.host_key import KeyState
from gpupool.model.states import DeviceHealth, HostState

# Seconds until every host has reported its devices; it takes one or two.
READY_TIMEOUT = 60
# Seconds after which it is said what is waited for.
SILENT = 3


def wait_for_hosts(
    database: Database, wanted: Set[str], before: Mapping[str, datetime | None], api_url: str
) -> None:
    """Wait until every host has reported since ``before``, and its devices can be granted.

    Raises TimeoutError. After some seconds says on standard error what this waits for, and again when
    that changes.
    """
    begun, told = time.monotonic(), ""
    while missing := wanted - _reported(database, before):
        waited = time.monotonic() - begun
        if waited > READY_TIMEOUT:
            names = ", ".join(sorted(missing))
            raise TimeoutError(f"not ready in {READY_TIMEOUT} s: {names}; see the log")
        if waited > SILENT and (awaited := _awaited(database, missing, api_url)) != told:
            told = awaited
            print(f"waiting for {told}", file=sys.stderr, flush=True)
        time.sleep(0.05)


def _awaited(database: Database, missing: Set[str], api_url: str) -> str:
    """Return what keeps hosts from being ready: an operator, or their first report and Placement."""
    names = ", ".join(sorted(missing))
    with database.reader() as session:
        waiting = host_keys.list_(session, {"host": list(missing), "state": KeyState.PENDING})
    if not waiting:
        return (
            f"the devices of {names}, which their agents report and a conductor compares with Placement"
        )
    commands = (
        f"openstack --os-auth-type none --os-endpoint {api_url} gpu host admit {key.host} "
        f"--fingerprint {key.id}"
        for key in sorted(waiting, key=lambda key: key.host)
    )
    return "hosts to be admitted:\n  " + "\n  ".join(commands)


def last_reports(database: Database) -> dict[str, datetime | None]:
    """Return by name when each host has reported last."""
    with database.reader() as session:
        return {host.name: host.last_seen_at for host in hosts.list_(session)}


def _reported(database: Database, before: Mapping[str, datetime | None]) -> set[str]:
    """Return the hosts that have reported since, and whose devices are in Placement.

    The clock may have been set between two runs.
    """
    with database.reader() as session:
        up = hosts.list_(session, {"state": HostState.UP})
        lacking = devices.list_(session, {"in_placement": False})
    waits = {device.host_id for device in lacking if device.health != DeviceHealth.MISSING}
    reported = [host for host in up if host.last_seen_at != before.get(host.name)]
    return {host.name for host in reported if host.id not in waits}
