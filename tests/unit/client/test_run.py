"""The environment of a program, and signals and exit codes of real child processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from osc_lib.exceptions import CommandError

from gpupool.client import environment, run


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that only this user writes to, with a socket and a runtime."""
    folder = Path(tempfile.mkdtemp(prefix="gp-"))
    (folder / "runtime").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "session.sock"))
        yield folder
    shutil.rmtree(folder)


def attachment(place: Path, **more: str) -> dict[str, object]:
    variables = {
        "GPUPOOL_SOCKET": f"{place}/session.sock",
        "GPUPOOL_TICKET": "t'1",
        "LD_LIBRARY_PATH": f"{place}/runtime",
    }
    return {"id": "a-1", "host": "sim-a", "host_id": "h-1", "environment": {**variables, **more}}


def test_search_paths_are_prefixed(place: Path) -> None:
    wanted = environment.checked(attachment(place))
    own = {"HOME": "/h", "LD_LIBRARY_PATH": "/mine:/yours", "GPUPOOL_TICKET": "old"}
    made = run.program_environment(wanted, own)
    assert made["LD_LIBRARY_PATH"] == f"{place}/runtime:/mine:/yours"
    assert (made["HOME"], made["GPUPOOL_TICKET"]) == ("/h", "t'1")
    # A run within a run, or of several claims, needs its folder once.
    assert run.program_environment(wanted, made)["LD_LIBRARY_PATH"] == made["LD_LIBRARY_PATH"]
    for nothing in ({}, {"LD_LIBRARY_PATH": ""}):
        assert run.program_environment(wanted, nothing)["LD_LIBRARY_PATH"] == f"{place}/runtime"


def others(place: Path, *names: str) -> dict[str, str]:
    """Return the environment of a program that has attachments; those named "gone" are gone."""
    for name in names:
        if not name.startswith("gone"):
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(place / name))
    sockets, tickets = (":".join(each) for each in ([f"{place}/{name}" for name in names], names))
    return {"GPUPOOL_SOCKET": sockets, "GPUPOOL_TICKET": tickets}


@pytest.mark.parametrize(
    ("names", "sockets", "tickets"),
    [
        (["one"], ["one"], ["one"]),
        (["one", "two"], ["one", "two"], ["one", "two"]),
        (["gone", "two"], ["two"], ["two"]),
        (["gone"], [], []),
    ],
)
def test_attachments_that_a_program_has_stay_usable(
    place: Path, names: list[str], sockets: list[str], tickets: list[str]
) -> None:
    own = others(place, *names)
    made = run.program_environment(environment.checked(attachment(place)), own)
    assert made["GPUPOOL_SOCKET"].split(":") == [
        f"{place}/{name}" for name in ["session.sock", *sockets]
    ]
    assert made["GPUPOOL_TICKET"].split(":") == ["t'1", *tickets]


def test_an_environment_that_is_not_sound_is_not_kept(place: Path) -> None:
    for own in ({"GPUPOOL_SOCKET": "/a:/b", "GPUPOOL_TICKET": "a:b:c"}, {"GPUPOOL_TICKET": "a:b"}):
        made = run.program_environment(environment.checked(attachment(place)), own)
        assert (made["GPUPOOL_SOCKET"], made["GPUPOOL_TICKET"]) == (f"{place}/session.sock", "t'1")


def test_a_socket_with_a_colon_is_used_alone(place: Path) -> None:
    wanted = environment.checked(attachment(place))
    with pytest.raises(CommandError, match=r"a:b has a colon: it can't be used beside another"):
        run.program_environment(wanted, others(place, "a:b") | {"GPUPOOL_TICKET": "t"})


@pytest.mark.parametrize("name", ["no.sock", "runtime", "a\0b"])
def test_the_host_must_be_this_machine(place: Path, name: str) -> None:
    with pytest.raises(CommandError, match=r"this machine is not host sim-a: .* is not here"):
        environment.checked(attachment(place, GPUPOOL_SOCKET=f"{place}/{name}"))


def test_nothing_else_is_ever_set(place: Path) -> None:
    """Whatever the API says: a host that lies got that far once."""
    forged = {"BASH_ENV": "/tmp/x", "LD_PRELOAD": "/tmp/x.so", "PATH": "/tmp", "A=B; rm": "x"}
    assert environment.checked(attachment(place, **forged)) == environment.checked(attachment(place))


@pytest.mark.parametrize(
    ("mode", "owner", "why"),
    [
        (0o777, None, "can be written to by others"),
        (0o1777, None, "can be written to by others"),
        (0o755, 65534, "is owned by user 65534"),
    ],
)
@pytest.mark.parametrize("outer", [False, True])
def test_a_library_that_others_put_there_is_not_loaded(
    place: Path, mode: int, owner: int | None, why: str, outer: bool
) -> None:
    changed = place if outer else place / "runtime"
    changed.chmod(mode)
    if owner is not None:
        if os.geteuid() != 0:
            pytest.skip("only root gives files away")
        os.chown(changed, owner, -1)
    if outer and mode == 0o1777:
        # As in /tmp: others can add to it, but not replace.
        assert environment.checked(attachment(place))["LD_LIBRARY_PATH"] == f"{place}/runtime"
        return
    with pytest.raises(CommandError, match=f"host sim-a names .*runtime as LD_LIBRARY_PATH, but.*{why}"):
        environment.checked(attachment(place))


def test_a_library_path_is_followed_to_its_end(place: Path) -> None:
    """Whoever owns the link could change it later: the program gets where it leads now."""
    link = place / "link"
    link.symlink_to("runtime")
    wanted = environment.checked(attachment(place, LD_LIBRARY_PATH=str(link)))
    assert wanted["LD_LIBRARY_PATH"] == f"{place}/runtime"
    for bad in (f"{place}/gone", f"{place}/session.sock", f"{place}/runtime:/tmp"):
        with pytest.raises(CommandError, match=r"is not here|is no folder|colon"):
            environment.checked(attachment(place, LD_LIBRARY_PATH=bad))


@pytest.mark.parametrize("before", [None, "", "/mine"])
def test_a_shell_takes_the_exports(place: Path, before: str | None) -> None:
    exports = run.exports("a-1", environment.checked(attachment(place)))
    script = exports + 'printf "%s|%s" "$GPUPOOL_TICKET" "$LD_LIBRARY_PATH"'
    given = {} if before is None else {"LD_LIBRARY_PATH": before, "GPUPOOL_TICKET": before}
    said = subprocess.run(["/bin/sh", "-eu", "-c", script], env=given, capture_output=True, check=True)
    more = ":/mine" if before else ""
    assert said.stdout.decode() == f"t'1{more}|{place}/runtime{more}"
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
