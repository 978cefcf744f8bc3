"""The console scripts: each imports its command, or names the extra that the command needs.

One wheel serves all roles, so ``pip install gpupool`` on a client host makes the scripts of servers too,
without their libraries. Nothing but the standard library is imported before a command is.
"""

import sys
from importlib import import_module, util

# What the demo's program and the service that it starts import, as processes of their own.
_OF_DEMO = ("cheroot", "cuda.bindings", "placement")


def _run(name: str, extra: str, also: tuple[str, ...] = ()) -> int:
    """Run a command; return its exit status, or 1, with one line, when its extra is not installed.

    ``also`` are modules of the extra that the command itself does not import.
    """
    try:
        command = import_module(f"gpupool.cmd.{name.replace('-', '_')}")
        for module in also:
            if util.find_spec(module) is None:
                raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    except ModuleNotFoundError as exc:
        if not exc.name or exc.name.partition(".")[0] == "gpupool":
            # Of gpupool itself nothing may be missing.
            raise
        how = f"pip install 'gpupool[{extra}]' (there is no module {exc.name})"
        print(f"gpupool-{name} needs gpupool[{extra}]: {how}", file=sys.stderr)
        return 1
    return int(command.main())


def agent() -> int:
    """Run ``gpupool-agent``."""
    return _run("agent", "agent")


def agent_key() -> int:
    """Run ``gpupool-agent-key``."""
    return _run("agent-key", "agent")


def conductor() -> int:
    """Run ``gpupool-conductor``."""
    return _run("conductor", "server")


def demo() -> int:
    """Run ``gpupool-demo``."""
    return _run("demo", "demo", _OF_DEMO)


def manage() -> int:
    """Run ``gpupool-manage``."""
    return _run("manage", "server")


def replay() -> int:
    """Run ``gpupool-replay``."""
    return _run("replay", "replay")


def standalone() -> int:
    """Run ``gpupool-standalone``."""
    return _run("standalone", "standalone")


def status() -> int:
    """Run ``gpupool-status``."""
    return _run("status", "server")
