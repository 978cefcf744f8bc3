"""gpupool-manage: what an operator does to the database."""

import argparse
import itertools
import logging
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from oslo_config import cfg
from sqlalchemy.orm import Session

from gpupool import conf as configuration
from gpupool.cmd import output
from gpupool.conductor.capacity import snapshot
from gpupool.db import claims, conductor_keys, devices, history, host_keys, hosts, pools
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.model.host_key import KeyState
from gpupool.model.states import DeviceHealth
from gpupool.placement import names
from gpupool.replay import recording
from gpupool.rpc import keys

# When agents have been told of a new conductor key; conductors read theirs once a minute.
_TOLD_WITHIN = timedelta(seconds=60)
# How many hosts a message names.
_NAMED = 5
# What a recording says of the group [queue], as named there.
_OF_QUEUE = (
    "half_life",
    "project_weights",
    "backfill",
    "reservations",
    "min_run_time",
    "project_min_run_times",
    "ageing",
)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 with the reason on standard error (argparse returns 2)."""
    # What libraries and the database's layer log on the way is in the reason; no log is set up here.
    logging.getLogger().addHandler(logging.NullHandler())
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf.register_cli_opt(cfg.SubCommandOpt("command", handler=_add_parsers))
    try:
        conf(sys.argv[1:] if args is None else list(args), project="gpupool")
        conf.command.run(Database.from_conf(conf), conf)
        sys.stdout.flush()
    except BrokenPipeError:
        output.discard()
    except (errors.GpupoolError, cfg.Error, OSError) as exc:
        print(f"gpupool-manage: {output.reason(exc)}", file=sys.stderr)
        return 1
    return 0


def _add_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    commands = subparsers.add_parser("db", help="The database").add_subparsers(required=True)
    upgrade = commands.add_parser("upgrade", help="Bring the schema to what this gpupool needs")
    upgrade.add_argument(
        "--sql", action="store_true", help="Only print the SQL that makes it in an empty database"
    )
    upgrade.set_defaults(run=_upgrade)
    commands.add_parser("version", help="Print the schema's revision").set_defaults(run=_version)
    check = commands.add_parser("check", help="Fail when the schema is not what this gpupool needs")
    check.set_defaults(run=_check)
    purge = commands.add_parser("purge", help="Delete claims that ended long ago")
    purge.add_argument("--older-than", type=_days, required=True, metavar="DAYS")
    purge.set_defaults(run=_purge)
    _add_key_parsers(subparsers)
    record = subparsers.add_parser(
        "recording", help="Print what a pool has and had to do, for gpupool-replay recording"
    )
    record.add_argument("--pool", required=True, metavar="POOL", help="Name or id")
    record.add_argument(
        "--days",
        type=_days,
        default=99999,
        help="Leave out claims that ended longer ago (default: none)",
    )
    record.set_defaults(run=_record)


def _add_key_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    commands = subparsers.add_parser("key", help="Keys that conductors sign with").add_subparsers(
        required=True
    )
    listing = commands.add_parser("list", help="Print the public keys: that in use, then its successors")
    listing.set_defaults(run=_list_keys)
    create = commands.add_parser("create", help="Add a key that follows the others, and print it")
    create.set_defaults(run=_create_key)
    delete = commands.add_parser("delete", help="Delete a key; the next one is in use within a minute")
    delete.add_argument("key", metavar="KEY", help="As `gpupool-manage key list` prints it")
    delete.add_argument(
        "--force", action="store_true", help="Also while hosts may trust no other; they would be down"
    )
    delete.set_defaults(run=_delete_key)


def _list_keys(database: Database, _conf: cfg.ConfigOpts) -> None:
    database.check()
    with database.reader() as session:
        for key in conductor_keys.list_(session):
            print(key.public_key)


def _create_key(database: Database, _conf: cfg.ConfigOpts) -> None:
    database.check()
    private_key, public_key = keys.new_signing_key()
    with database.writer() as session:
        conductor_keys.add(session, private_key, public_key)
    print(public_key)


def _delete_key(database: Database, conf: cfg.ConfigOpts) -> None:
    database.check()
    with database.writer() as session:
        conductor_keys.remove(session, conf.command.key)
        if not conf.command.force:
            _check_others_are_known(session, conf.command.key)


def _check_others_are_known(session: Session, deleted: str) -> None:
    """Raise Conflict, which undoes the deletion, while admitted hosts may know no key that is left.

    Agents are told of a key with the answer to a report after it was made.
    """
    known_by = min(key.created_at for key in conductor_keys.list_(session)) + _TOLD_WITHIN
    names = {key.host for key in host_keys.list_(session, {"state": KeyState.ADMITTED})}
    behind = [
        host.name
        for host in hosts.list_(session, {"name": list(names)}, [("name", "asc")])
        if host.last_seen_at is None or host.last_seen_at < known_by
    ]
    if behind:
        named = ", ".join(behind[:_NAMED]) + (" ..." if len(behind) > _NAMED else "")
        raise errors.Conflict(
            f"{len(behind)} of {len(names)} admitted hosts may trust {deleted} alone: {named}. It can "
            "be deleted when each has reported a minute after its successor was made, and agents with "
            "[agent] conductor_keys name that; --force deletes it now, then those hosts are down"
        )


def _days(text: str) -> int:
    if not text.isdecimal() or len(text) > 5:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days; allowed: 0 to 99999")
    return int(text)


def _upgrade(database: Database, conf: cfg.ConfigOpts) -> None:
    if conf.command.sql:
        print(database.upgrade_sql(), end="")
    else:
        database.upgrade()


def _version(database: Database, _conf: cfg.ConfigOpts) -> None:
    print(database.version() or "none")


def _check(database: Database, _conf: cfg.ConfigOpts) -> None:
    database.check()


def _purge(database: Database, conf: cfg.ConfigOpts) -> None:
    database.check()
    database.follow_clock()
    older_than = database.clock.now() - timedelta(days=conf.command.older_than)
    with database.writer() as session:
        print(f"{claims.purge(session, older_than)} claims deleted")


def _record(database: Database, conf: cfg.ConfigOpts) -> None:
    database.check()
    database.follow_clock()
    now = database.clock.now()
    since = now - timedelta(days=conf.command.days)
    with database.reader() as session:
        # All of them before the first is printed: a slow reader must not keep the transaction open.
        lines = list(recording.lines(records(session, conf, conf.command.pool, now, since)))
    for line in lines:
        print(line)


def records(
    session: Session, conf: cfg.ConfigOpts, pool_name: str, now: datetime, since: datetime
) -> Iterator[recording.Record]:
    """Return all that a pool is, ``now``, and had to do ``since``; NotFound if there is none."""
    pool = pools.find(session, pool_name)
    owned = hosts.list_(session, {"pool_id": pool.id}, [("name", "asc")])
    by_id = {host.id: host for host in owned}
    held = devices.list_(session, {"host_id": list(by_id)}, [("key", "asc")])
    with_devices = {device.host_id for device in held}
    configured = {name: conf.queue[name] for name in _OF_QUEUE} | {
        "mix_window": conf.allocator.mix_window
    }
    if pool.min_run_time is not None:
        configured["min_run_time"] = pool.min_run_time
    return itertools.chain(
        [recording.PoolRecord.of(pool, now, **configured)],
        (
            recording.HostRecord.of(host, *snapshot.for_programs(host, host.id in with_devices, conf))
            for host in owned
        ),
        (_device(device, by_id[device.host_id]) for device in held),
        map(recording.ClaimRecord.of, history.claims(session, pool.id, since)),
    )


def _device(device: Device, host: Host) -> recording.DeviceRecord:
    usable = host.enabled and device.enabled and device.health == DeviceHealth.OK
    traits = tuple(sorted(names.device_traits(device)))
    return recording.DeviceRecord.of(device, host.name, traits, usable)
