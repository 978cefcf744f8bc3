"""The environment of a program, and signals and exit codes of real child processes."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from osc_lib.exceptions import CommandError

from gpupool.client import run


def attachment(socket: Path) -> dict[str, object]:
    environment = {"GPUPOOL_SOCKET": str(socket), "GPUPOOL_TICKET": "t'1", "LD_LIBRARY_PATH": "/runtime"}
    return {"id": "a-1", "host": "sim-a", "host_id": "h-1", "environment": environment}


def test_search_paths_are_prefixed(tmp_path: Path) -> None:
    socket = tmp_path / "session.sock"
    socket.touch()
    own = {"HOME": "/h", "LD_LIBRARY_PATH": "/mine:/yours", "GPUPOOL_TICKET": "old"}
    made = run.program_environment(attachment(socket), own)
    assert made["LD_LIBRARY_PATH"] == "/runtime:/mine:/yours"
    assert (made["HOME"], made["GPUPOOL_TICKET"]) == ("/h", "t'1")
    for nothing in ({}, {"LD_LIBRARY_PATH": ""}):
        assert run.program_environment(attachment(socket), nothing)["LD_LIBRARY_PATH"] == "/runtime"


def test_the_host_must_be_this_machine(tmp_path: Path) -> None:
    with pytest.raises(
        CommandError, match=r"this machine is not host sim-a: .*session\.sock is not here"
    ):
        run.program_environment(attachment(tmp_path / "session.sock"), {})


@pytest.mark.parametrize("before", [None, "", "/mine"])
def test_a_shell_takes_the_exports(tmp_path: Path, before: str | None) -> None:
    script = (
        run.exports(attachment(tmp_path / "s")) + 'printf "%s|%s" "$GPUPOOL_TICKET" "$LD_LIBRARY_PATH"'
    )
    environment = {} if before is None else {"LD_LIBRARY_PATH": before}
    said = subprocess.run(
        ["/bin/sh", "-eu", "-c", script], env=environment, capture_output=True, check=True
    )
    assert said.stdout.decode() == "t'1|/runtime" + (":/mine" if before else "")
    assert said.stderr == b""


def runner(*command: str, prelude: str = "") -> "subprocess.Popen[str]":
    """Start a process that runs ``command`` as `gpu run` does."""
    program = f"""
        import os, signal, sys
        from gpupool.client import child
        {prelude}
        with child.Signals() as signals:
            code = signals.run(sys.argv[1:], dict(os.environ))
        print("after", signal.pthread_sigmask(signal.SIG_BLOCK, ()), file=sys.stderr)
        sys.exit(code)
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -9 $$"], 137),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["/no/such/program"], 127),
        (["no-such-program"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_the_exit_code_is_the_programs(command: list[str], code: int) -> None:
    process = runner(*command)
    _, error = process.communicate()
    assert process.returncode == code
    assert "after set()" in error
    if code in (126, 127):
        assert command[0] in error


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_program(signum: signal.Signals) -> None:
    name = signum.name.removeprefix("SIG")
    script = f"trap 'echo got; exit 3' {name}; echo ready; while :; do sleep 0.02; done"
    process = runner("sh", "-c", script)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signum)
    output, _ = process.communicate()
    assert output == "got\n"
    assert process.returncode == 3


def test_the_program_gets_signals_as_from_a_shell() -> None:
    """Nothing is blocked, and a broken pipe ends it, which Python itself ignores."""
    show = "import signal; print(signal.pthread_sigmask(0, ()), end='')"
    process = runner(sys.executable, "-c", show)
    assert process.communicate()[0] == "set()"
    process = runner("sh", "-c", "trap - PIPE; yes | head -1; kill -PIPE $$")
    assert process.communicate()[0] == "y\n"
    assert process.returncode == 128 + signal.SIGPIPE


def test_what_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    process = runner(
        "sh",
        "-c",
        "echo ready; sleep 0.2; echo end",
        prelude="signal.signal(signal.SIGHUP, signal.SIG_IGN)",
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    assert process.communicate()[0] == "end\n"
    assert process.returncode == 0


def test_a_terminals_signal_comes_once() -> None:
    """Ctrl-C reaches the whole foreground group; it is not sent a second time."""
    controller, terminal = os.openpty()
    script = "n=0; trap 'n=$((n+1)); echo got $n' INT; echo ready; read x; sleep 0.3; echo end $n"
    program = (
        "import os, sys; from gpupool.client import child\n"
        "with child.Signals() as signals: sys.exit(signals.run(sys.argv[1:], dict(os.environ)))"
    )
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", sys.executable, "-c", program, "bash", "-c", script],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    said = b""
    while b"ready" not in said:
        said += os.read(controller, 1000)
    os.write(controller, b"\x03")
    while b"got 1" not in said:
        said += os.read(controller, 1000)
    os.write(controller, b"\n")
    while b"end" not in said:
        said += os.read(controller, 1000)
    said += os.read(controller, 1000) if b"end 1" not in said and b"end 2" not in said else b""
    assert b"end 1" in said
    assert process.wait() == 0
    os.close(controller)
