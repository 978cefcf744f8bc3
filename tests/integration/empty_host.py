"""A Debian host on which nothing of gpupool is yet, for the commands of the installation guide.

``python -m tests.integration.empty_host FOLDER`` follows the guide word for word, as the first process
of new namespaces (``COMMAND`` starts it so). It has the machine's packages, but /etc, /opt, /root, /var
and the checkout as layers that are thrown away, an empty /run, no network but its own, where it is
called ``controller``, and a real Keystone and Placement. Three commands are others: ``apt-get`` looks
whether packages are installed, ``systemctl`` is ``units``, and pip takes packages from FOLDER/wheels.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.integration import guide, identity

NAMESPACES = ("unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child")
COMMAND = (*NAMESPACES, "--mount-proc", sys.executable, "-m", "tests.integration.empty_host")
LAYERS = ("/etc", "/opt", "/root", "/var", str(guide.ROOT))
# What a command whose output the page tells has to print it in.
PATIENCE = 90
NAME, REGION = "controller", "RegionOne"
PLACEMENT_PORT = 8778
_DONE = "= done ="
_PLACEMENT = f"""
from cheroot import wsgi
from placement.wsgi.api import application
wsgi.Server(("{NAME}", {PLACEMENT_PORT}), application, numthreads=1).safe_start()
"""
_APT_GET = """#!/bin/sh
[ "$1" = update ] && exit
shift
for name; do
    case $name in -*) continue ;; esac
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name")" = installed ] || {
        echo "E: $name is not installed on this machine" >&2
        exit 100
    }
done
"""


def main() -> None:
    """Follow the guide; ends with status 1 where it does not do what it says."""
    folder = Path(sys.argv[1])
    make(folder)
    identity_service = identity.Keystone(folder, f"http://{NAME}:5000", REGION)
    serve_placement(folder, identity_service)
    openrc(identity_service)
    with shell(folder) as bash:
        for step in guide.steps():
            follow(bash, step)
    if shutil.which("systemd-analyze"):
        files = sorted(Path("/etc/systemd/system").glob("gpupool-*.service"))
        run("systemd-analyze", "verify", *map(str, files))
    print("The page was followed to its end.")


def make(folder: Path) -> None:
    """Make this process's machine: files, names, network, commands."""
    for at, path in enumerate(LAYERS):
        upper, work = folder / f"upper{at}", folder / f"work{at}"
        upper.mkdir()
        work.mkdir()
        layers = f"lowerdir={path},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, path)
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("systemd-tmpfiles", "--create", "--prefix=/run")
    Path("/run/lock").mkdir(exist_ok=True)
    run("ip", "link", "set", "lo", "up")
    run("hostname", NAME)
    Path("/etc/hosts").write_text(f"127.0.0.1 localhost {NAME}\n")
    commands = folder / "commands"
    commands.mkdir()
    python = shlex.join(["exec", sys.executable, str(Path(__file__).with_name("units.py"))])
    for name, text in {"apt-get": _APT_GET, "systemctl": f'#!/bin/sh\n{python} "$@"\n'}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)


def run(*command: str, environment: Mapping[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=environment)


def serve_placement(folder: Path, keystone: identity.Keystone) -> None:
    """Run a Placement that asks Keystone who calls."""
    keystone.add_user("placement", "service", "admin")
    keystone.add_endpoint("placement", f"http://{NAME}:{PLACEMENT_PORT}")
    asked = keystone.auth("placement", "service")
    lines = ["[api]", "auth_strategy = keystone", "[placement_database]"]
    lines += [f"connection = sqlite:///{folder}/placement.sqlite", "[keystone_authtoken]"]
    lines += ["auth_type = password", f"www_authenticate_uri = {keystone.url}/v3"]
    names = ("auth_url", "username", "password", "project_name", "user_domain_id", "project_domain_id")
    lines += [f"{name} = {asked[name]}" for name in names]
    config = folder / "placement.conf"
    config.write_text("\n".join(lines) + "\n")
    environment = {**os.environ, "OS_PLACEMENT_CONFIG_DIR": str(folder)}
    manage = str(identity.SCRIPTS / "placement-manage")
    run(manage, "--config-file", str(config), "db", "sync", environment=environment)
    with (folder / "placement.log").open("wb") as log:
        command = [sys.executable, "-c", _PLACEMENT]
        subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def openrc(keystone: identity.Keystone) -> None:
    """Write the administrator's credentials to where the page has them."""
    auth = keystone.auth("admin", "admin")
    lines = [f"export OS_{name.upper()}={value}" for name, value in auth.items()]
    Path("/root/admin-openrc").write_text("\n".join(lines) + "\n")


@contextlib.contextmanager
def shell(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Yield the root shell in which all of it is typed."""
    environment = {
        "PATH": f"{folder}/commands:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder / "wheels"),
        # The checkout may be another user's.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    bash = subprocess.Popen(
        ["bash", "-o", "pipefail"],
        cwd=guide.ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield bash
    assert bash.stdin
    bash.stdin.close()
    bash.wait()


def follow(bash: "subprocess.Popen[str]", step: guide.Step) -> None:
    """Type what a step says; ends this program where the step fails."""
    print(f"--- {step.section}\n{step.text}", end="", flush=True)
    began = time.monotonic()
    while True:
        status, printed = type_(bash, step)
        if step.agrees(status, printed):
            print(f"{printed}({time.monotonic() - began:.0f} s)", flush=True)
            return
        if step.expected is None or time.monotonic() > began + PATIENCE:
            print(f"{printed}status {status}; the page says:\n{step.expected}")
            for log in (*Path("/var/log/units").glob("*.log"), Path("/var/log/nginx/error.log")):
                print(f"=== {log}\n{log.read_text(errors='replace')[-3000:]}")
            sys.exit(1)
        time.sleep(1)


def type_(bash: "subprocess.Popen[str]", step: guide.Step) -> tuple[int, str]:
    """Run commands in the shell; return their status and what they print."""
    assert bash.stdin
    assert bash.stdout
    file = Path("/run/typed")
    # Blocks end at the first command that fails.
    file.write_text(("set -e\n" if step.expected is None else "") + step.text + "\nset +e\n")
    # Output may lack the end of its last line.
    bash.stdin.write(f". {file} </dev/null\nprintf '\\n%s %s\\n' '{_DONE}' $?\n")
    bash.stdin.flush()
    printed = ""
    for line in bash.stdout:
        if line.startswith(_DONE):
            return int(line.removeprefix(_DONE)), printed
        printed += line
    return bash.wait(), printed


if __name__ == "__main__":
    main()
