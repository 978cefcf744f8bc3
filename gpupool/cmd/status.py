"""gpupool-status: tells whether everything is ready for this version of gpupool.

Every check ends by itself, whatever it asks: what gives no answer is told like what refuses.
"""

import json
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from keystoneauth1 import loading
from oslo_config import cfg
from oslo_upgradecheck import upgradecheck
from oslo_upgradecheck.upgradecheck import Code, Result
from sqlalchemy.orm import Session

from gpupool import conf as configuration
from gpupool.cmd import output
from gpupool.db import devices, host_keys, hosts, services, times
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.host_key import KeyState
from gpupool.model.service import CONDUCTOR, VERSION
from gpupool.model.states import DeviceHealth, HostState
from gpupool.placement import client as placement_client
from gpupool.rpc import transport
from gpupool.standalone.state_folder import ENDPOINTS

# Seconds that a service has to answer in.
PATIENCE = 10
_AUTHTOKEN = "keystone_authtoken"
# How many names a line tells.
_NAMED = 5


class Checks(upgradecheck.UpgradeCommands):
    """The checks of ``gpupool-status upgrade check``."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf

    def _database(self) -> Result:
        return _answer(lambda: Database.from_conf(self._conf).check())

    def _placement(self) -> Result:
        file = self._endpoints()
        if file is None:
            return _answer(lambda: placement_client.from_conf(self._conf).traits())
        if not file.exists():
            why = f"not checked: Placement is part of gpupool-standalone, which does not run ({file})"
            return Result(Code.SUCCESS, why)
        return _answer(lambda: _embedded(file).traits())

    def _endpoints(self) -> Path | None:
        """Return where standalone writes its addresses while it runs; None unless this is standalone's.

        Its Placement is inside of it, at another address after each start, so no section describes it.
        """
        if self._conf.placement.auth_type or not transport.within_process(self._conf):
            return None
        try:
            file = Database.from_conf(self._conf).file
        except errors.GpupoolError:
            return None
        return file and file.with_name(ENDPOINTS)

    def _messages(self) -> Result:
        return _answer(lambda: transport.probe(self._conf))

    def _keystone(self) -> Result:
        if self._conf.api.auth_strategy == "noauth":
            return Result(
                Code.WARNING, "[api] auth_strategy is noauth: the API asks nobody who they are"
            )
        auth = _api_user(self._conf)
        if auth is None:
            return Result(Code.WARNING, f"[{_AUTHTOKEN}] auth_type is not set; the API needs it")
        session = loading.load_session_from_conf_options(self._conf, _AUTHTOKEN, auth=auth)
        return _answer(session.get_token)

    def _hosts(self) -> Result:
        signed = self._conf.conductor.require_signed_reports
        return self._look(lambda session: _judge_hosts(session, signed))

    def _devices(self) -> Result:
        interval = self._conf.conductor.reconcile_interval
        return self._look(lambda session: _judge_devices(session, interval))

    def _look(self, judge: Callable[[Session], Result]) -> Result:
        """Return what ``judge`` finds in the database, if that can be read."""
        found: list[Result] = []

        def look() -> None:
            database = Database.from_conf(self._conf)
            database.check()
            with database.reader() as session:
                found.append(judge(session))

        read = _answer(look)
        return found[0] if found else Result(Code.WARNING, f"not known: {read.details}")

    _upgrade_checks = (
        ("Database schema", _database),
        ("Placement", _placement),
        ("Message service", _messages),
        ("Keystone", _keystone),
        ("Hosts", _hosts),
        ("Devices in Placement", _devices),
    )


def _answer(ask: Callable[[], object]) -> Result:
    """Return success when ``ask`` returns, failure with its reason or when it takes too long."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            ask()
        except Exception as exc:
            failed.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        return Result(Code.FAILURE, f"no answer in {PATIENCE} s")
    return Result(Code.FAILURE, output.reason(failed[0])) if failed else Result(Code.SUCCESS)


def _api_user(conf: cfg.ConfigOpts) -> Any:
    """Return the credentials by which the API checks those of its callers; None without any."""
    loading.register_auth_conf_options(conf, _AUTHTOKEN)
    loading.register_session_conf_options(conf, _AUTHTOKEN)
    return loading.load_auth_from_conf_options(conf, _AUTHTOKEN)


def _embedded(endpoints: Path) -> placement_client.PlacementClient:
    """Return a client of the Placement of a standalone, whose addresses are in a file."""
    url = json.loads(endpoints.read_text())["placement"]
    return placement_client.by_token(url, placement_client.TOKEN, PATIENCE)


def _judge_hosts(session: Session, signed: bool) -> Result:
    known = hosts.list_(session)
    admitted = {key.host for key in host_keys.list_(session, {"state": KeyState.ADMITTED})}
    down = [host.name for host in known if host.state == HostState.DOWN]
    own = VERSION
    others = [host.name for host in known if host.state == HostState.UP and host.agent_version != own]
    with_keys = {key.host for key in host_keys.list_(session)}
    # Pending hosts have never reported; hosts with an admitted key sign their reports.
    unsigned = [
        host.name for host in known if host.state != HostState.PENDING and host.name not in with_keys
    ]
    without = [host.name for host in known if host.name not in admitted]
    said = [
        f"{len(names)} of {len(known)} {what}: {_some(names)}"
        for names, what in (
            (down, "are down"),
            (others, f"have agents of other versions than {own}"),
            (without, "have no admitted key"),
            (
                unsigned if signed else (),
                "reported before hosts had keys: set [conductor] require_signed_reports = false until "
                "their agents are upgraded and they are admitted, else they count as down",
            ),
        )
        if names
    ]
    if not known:
        said.append("no host has reported yet")
    return Result(Code.WARNING, "; ".join(said)) if said else Result(Code.SUCCESS)


def _judge_devices(session: Session, interval: int) -> Result:
    name_of = {host.id: host.name for host in hosts.list_(session)}
    there = [device for device in devices.list_(session) if device.health != DeviceHealth.MISSING]
    lacking = [f"{name_of[each.host_id]}/{each.key}" for each in there if not each.in_placement]
    if not lacking:
        return Result(Code.SUCCESS)
    what = f"{len(lacking)} of {len(there)} devices"
    if not _has_compared(session, interval):
        done = f"a conductor does so within {interval} s of its start ([conductor] reconcile_interval)"
        return Result(Code.WARNING, f"{what} are not compared with Placement yet; {done}")
    why = "can't be granted: Placement has no provider of"
    return Result(Code.WARNING, f"{what} {why} {_some(lacking)}")


def _has_compared(session: Session, interval: int) -> bool:
    """Return whether a conductor that is up has run for ``interval`` seconds."""
    up = services.list_(session, {"binary": CONDUCTOR, "state": HostState.UP})
    since = times.now(session) - timedelta(seconds=interval)
    return any(each.started_at is not None and each.started_at <= since for each in up)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(sorted(names)[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def main(args: Sequence[str] | None = None) -> int:
    """Run the checks; return 0 when all is ready, 1 for warnings, 2 for failures, 255 on errors."""
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    argv = sys.argv[1:] if args is None else list(args)
    return int(upgradecheck.main(conf, "gpupool", Checks(conf), argv))
