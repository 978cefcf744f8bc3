"""The configuration of each service of a standalone, kept as files in its state folder."""

from pathlib import Path
from typing import Any

from oslo_config import cfg

from gpupool import conf as gpupool_conf
from gpupool.standalone.options import Options

# Messages stay within this process.
_MESSAGES = "fake://"


def _conf(path: Path, ours: dict[str, dict[str, Any]], options: Options) -> cfg.ConfigOpts:
    """Return the configuration of ``ours`` by group, which ``path`` holds, and of the user's files."""
    lines = []
    for group, values in ours.items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {value}" for name, value in values.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return gpupool_conf.new(files=[str(file) for file in (path, *options.config_files)])


def of_services(options: Options) -> cfg.ConfigOpts:
    """Return the configuration of API and conductor."""
    database = options.state_dir / "gpupool.sqlite"
    return _conf(
        options.state_dir / "gpupool.conf",
        {
            "DEFAULT": {"transport_url": _MESSAGES, "log_file": options.log_file},
            "database": {"connection": f"sqlite:///{database}"},
            "api": {"auth_strategy": "noauth"},
            # Nobody waits a minute for the first lease to end, or else is on this process's messages.
            "conductor": {"clock_settle": 10, "admit_hosts": "automatic"},
        },
        options,
    )


def of_agent(options: Options, name: str, run_dir: Path) -> cfg.ConfigOpts:
    """Return the configuration of one host's agent."""
    folder = options.state_dir / "hosts" / name
    agent = {
        "host": name,
        "drivers": options.driver,
        "state_path": folder,
        "run_path": run_dir / name,
        "cdi_path": options.cdi_dir,
    }
    reference = {"devices": options.devices, "memory_mib": options.memory_mib}
    return _conf(
        folder / "gpupool.conf",
        {"DEFAULT": {"transport_url": _MESSAGES}, "agent": agent, "reference": reference},
        options,
    )
