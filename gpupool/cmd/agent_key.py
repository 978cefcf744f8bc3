"""gpupool-agent-key: the keys by which this host is known to conductors."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg

from gpupool import conf as configuration
from gpupool.agent.identity import Identity
from gpupool.model import errors


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 with the reason on standard error (argparse returns 2)."""
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf.register_cli_opt(cfg.SubCommandOpt("command", handler=_add_parsers))
    try:
        # What gpupool-agent reads.
        files = cfg.find_config_files("gpupool", "gpupool-agent")
        given = sys.argv[1:] if args is None else list(args)
        conf(given, project="gpupool", default_config_files=files)
        print(conf.command.run(_identity(conf)))
    except (errors.GpupoolError, cfg.Error, OSError) as exc:
        print(f"gpupool-agent-key: {exc}", file=sys.stderr)
        return 1
    return 0


def _identity(conf: cfg.ConfigOpts) -> Identity:
    """Return this host's identity; NotFound without keys: another folder's would be no agent's."""
    state = Path(conf.agent.state_path).absolute()
    identity = Identity(state)
    if not identity.has_keys():
        raise errors.NotFound(
            f"host {conf.agent.host} has no keys in {state} ([agent] state_path): its agent makes them "
            "at its first start; start it, or name the agent's own configuration by --config-file"
        )
    return identity


def _add_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    show = subparsers.add_parser(
        "show", help="Print the fingerprint of the agent's keys, which openstack gpu host admit takes"
    )
    show.set_defaults(run=lambda identity: identity.keys().fingerprint)
    rotate = subparsers.add_parser(
        "rotate",
        help="Make keys that take the place of the present ones at the agent's next report, and print "
        "their fingerprint",
    )
    rotate.set_defaults(run=lambda identity: identity.rotate().fingerprint)


if __name__ == "__main__":
    sys.exit(main())
