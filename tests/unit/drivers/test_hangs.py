"""Calls of the vendor's library that hang, crash or lie: they cost their own device, no other."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from gpupool.drivers import process
from gpupool.drivers.process import DriverProcess, Lost, Refused, Stopped

from .conftest import A2, H200, eventually, is_alive

# Seconds until a call counts as hanging; only tests in which one hangs wait for it.
SHORT = 2.0


def with_state(line, state):
    return line.replace("|ok", f"|{state}")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("hang", "a call of the vendor's library has not returned for 2 s"),
        ("crash", "the driver's process was ended by SIGSEGV"),
        ("fork", "a call of the vendor's library has not returned for 2 s"),
        ("junk", r"the vendor's library says that name is 'A\x1b[2J\u202eB'"),
        ("bytes", "UnicodeDecodeError"),
    ],
)
def test_a_device_that_does_worse_than_fail_costs_no_other(hardware, drivers, caplog, state, said):
    driver = drivers(timeout=SHORT)
    hardware(H200 + A2)
    driver.run()
    hardware(H200 + with_state(A2, state))
    driver.wait_for(GPU_1="ok", GPU_2="failed")
    other = driver.pid(0)
    assert said in driver.reasons()["GPU-2"]
    if state != "bytes":
        looks = driver.lost(1)
        eventually(lambda: driver.lost(1) > looks + 2, "three more processes")
    # The other device's process was never replaced.
    assert (driver.pid(0), driver.health()["GPU-1"]) == (other, "ok")
    assert "NVIDIA device 1 does not answer" in caplog.text
    hardware(H200 + A2)
    driver.wait_for(GPU_1="ok", GPU_2="ok")
    assert "NVIDIA device 1 answers again" in caplog.text


@pytest.mark.parametrize("state", ["hang1", "crash1"])
def test_one_process_that_is_lost_is_replaced_and_the_device_never_fails(hardware, drivers, state):
    driver = drivers(timeout=SHORT)
    seen = set()
    hardware(H200 + A2)
    driver.run()
    driver.tell(lambda: seen.add(driver.health()["GPU-2"]))
    before = set(hardware.numbers("calls"))
    # It is the device's own process, or the one that asks for links.
    hardware(H200 + with_state(A2, state))
    eventually(lambda: set(hardware.numbers("calls")) > before, "another process")
    eventually(driver.all_answer, "an answer of it")
    assert driver.health()["GPU-2"] == "ok"
    assert "failed" not in seen
    assert sum(map(is_alive, before)) == 2


def test_a_process_that_lied_is_replaced(hardware, driver):
    hardware(A2)
    driver.run()
    first = driver.pid(0)
    hardware(with_state(A2, "junk"))
    driver.wait_for(GPU_2="failed")
    eventually(lambda: not is_alive(first), "the end of the first process")


def test_a_fault_of_the_agent_does_not_end_the_watching(hardware, driver, caplog):
    hardware(A2)
    driver.run()
    driver.tell(lambda: 1 / 0)
    hardware(with_state(A2, "15"))
    eventually(lambda: "NVIDIA device 0: no look at it" in caplog.text)
    news = driver.news
    driver.tell(driver.count)
    driver.look(0)
    eventually(lambda: driver.news > news, "what was not told is told")
    hardware(A2)
    driver.wait_for(GPU_2="ok")


def test_what_takes_its_time_answers(hardware, driver):
    hardware(with_state(H200 + A2, "slow"))
    driver.run()
    assert set(driver.health().values()) == {"ok"}
    # No process was replaced.
    assert len(hardware.numbers("calls")) == len(set(hardware.numbers("calls"))) == 3


def test_nvml_that_hangs_as_it_starts_is_no_device_and_comes(hardware, drivers, caplog):
    driver = drivers(first_timeout=SHORT)
    hardware("hang\n")
    driver.start(lambda: None)
    eventually(lambda: "NVML does not answer: a call of the vendor's library" in caplog.text)
    assert driver.ready()
    assert driver.discover() == []
    hardware(A2)
    driver.wait_for_keys("GPU-2")


def test_a_device_that_hangs_from_the_start_does_not_keep_the_others(hardware, drivers):
    driver = drivers(first_timeout=SHORT)
    hardware(with_state(H200, "hang") + A2)
    driver.start(lambda: None)
    driver.wait_for_keys("GPU-2")
    eventually(driver.ready)
    hardware(H200 + A2)
    driver.wait_for(GPU_1="ok", GPU_2="ok")


def test_nothing_waits_for_a_call_that_hangs(hardware, driver):
    """With calls that may hang for half a minute: nobody hears that from the driver."""
    hardware(H200 + A2)
    driver.run()
    hardware(H200 + with_state(A2, "hang"))
    first = driver.pid(1)
    eventually(lambda: is_alive(first))
    for _ in range(100):
        assert driver.health() == {"GPU-1": "ok", "GPU-2": "ok"}
        assert driver.open("GPU-2").environment["CUDA_VISIBLE_DEVICES"] == "GPU-2"


def test_what_the_library_forks_ends_with_its_process(hardware, drivers):
    driver = drivers(first_timeout=SHORT)
    hardware(with_state(A2, "fork"))
    driver.start(lambda: None)
    (forked, *_) = eventually(lambda: hardware.numbers("forked"), "a fork")
    eventually(lambda: not is_alive(forked), "the end of what was forked")


def test_a_process_has_nothing_of_the_agent(hardware, drivers, monkeypatch):
    monkeypatch.setenv("OS_PASSWORD", "secret")
    inherited = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    driver = drivers()
    hardware(A2)
    driver.run()
    pid = driver.pid(0)
    environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
    assert {each.partition("=")[0] for each in environment} == {"PATH", "LANG", "LD_LIBRARY_PATH", ""}
    files = sorted(os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir())
    assert [each.partition(":")[0] for each in files] == ["/dev/null"] * 3 + ["socket"]
    # A Ctrl-C in the agent's terminal is for the agent.
    assert os.getsid(pid) == pid
    os.close(inherited)


AGENT = """
import sys, time
from tests.unit.drivers.conftest import new_driver
driver = new_driver().run()
print(*driver.pids(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("state", ["ok", "hang"])
def test_processes_die_with_an_agent_that_is_killed(hardware, state):
    """In a call that hangs, where nothing is read from the agent any more, too."""
    hardware(A2)
    command = [sys.executable, "-c", AGENT]
    agent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    pids = [int(each) for each in agent.stdout.readline().split()]
    assert len(pids) == 2
    hardware(with_state(A2, state))
    if state == "hang":
        eventually(lambda: "SigBlk:\tfffffff" in Path(f"/proc/{pids[1]}/status").read_text())
    agent.kill()
    agent.wait()
    for pid in pids:
        eventually(lambda pid=pid: not is_alive(pid), "the end of a driver's process")


def test_a_process_is_small(hardware, driver):
    """What one costs of memory, so that nobody makes it import the agent."""
    hardware(A2)
    driver.run()
    maps = Path(f"/proc/{driver.pid(0)}/maps").read_text()
    assert "libnvidia-ml" in maps
    rollup = Path(f"/proc/{driver.pid(0)}/smaps_rollup").read_text()
    (private,) = [int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_D")]
    assert private < 20 * 1024


def test_a_process_that_cannot_be_killed_leaves_its_device_failed(
    hardware, drivers, frozen, monkeypatch
):
    monkeypatch.setattr(process, "KILL_SECONDS", 0.2)
    driver = drivers(timeout=SHORT)
    hardware(H200 + A2)
    driver.run()
    stuck = driver.pid(1)
    frozen(stuck)
    driver.wait_for(GPU_1="ok", GPU_2="failed")
    said = f"process {stuck} hangs in the kernel and can't be killed"
    eventually(lambda: driver.reasons()["GPU-2"] == said, said)
    before, looks = len(hardware.numbers("calls")), driver.lost(1)
    eventually(lambda: driver.lost(1) > looks + 3)
    # No other process is started for it while this one is there: they would gather.
    assert len(hardware.numbers("calls")) == before
    assert driver.pid(1) == stuck
    frozen.thaw()
    driver.wait_for(GPU_1="ok", GPU_2="ok")
    assert not is_alive(stuck)


def test_links_that_cannot_be_asked_for_cost_no_device(hardware, drivers, caplog):
    """Asking which devices are linked touches two at once, in the process that lists devices."""
    driver = drivers(timeout=SHORT)
    hardware(H200 + A2)
    driver.run()
    devices = [driver.pid(0), driver.pid(1)]
    question = driver._ask_system()
    assert question == {"ask": "system", "linked": [0, 1]}
    driver._system.lost = 1
    assert driver._ask_system() == {"ask": "system", "linked": []}
    # As long as it is these devices.
    assert driver._ask_system() == {"ask": "system", "linked": []}
    assert [driver.pid(0), driver.pid(1)] == devices


def test_a_new_count_that_no_machine_has_is_not_believed(hardware, driver):
    hardware(A2)
    driver.run()
    with pytest.raises(Exception, match="count is 4096; allowed: a whole number from 0 to 64"):
        driver._system._question.read({"count": 4096, "links": {}})


# Children that speak the protocol badly, in place of the real one.


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Return a function that makes a process which runs this code, with its end of the connection."""
    made = []
    popen = subprocess.Popen

    def make(code):
        start = "import socket,sys,json,os;c=socket.socket(fileno=int(sys.argv[-1]));q=c.recv(65536)\n"

        def run(command, **options):
            return popen([sys.executable, "-c", start + code, *command[3:]], **options)

        monkeypatch.setattr(subprocess, "Popen", run)
        made.append(DriverProcess("none"))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("c.send(b'no json'); c.recv(1)", "no answer"),
        ("c.send(b'[' * 60000); c.recv(1)", "no answer"),
        ("c.send(b'[]'); c.recv(1)", "no answer"),
        ('c.send(b\'{"id": 7, "answer": 1}\'); c.recv(1)', "no answer"),
        ("c.send(b' ' * 100000); c.recv(1)", "no answer"),
        ("c.send(b'')", "ended with status 0"),
        ("sys.exit(3)", "ended with status 3"),
        ("os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("os.kill(os.getpid(), 40)", "ended by signal 40"),
        ("c.close(); import time; time.sleep(60)", "hung up"),
    ],
)
def test_what_is_no_answer_costs_the_process(child, monkeypatch, code, said):
    monkeypatch.setattr(process, "KILL_SECONDS", 3.0 if "ended" in said else 0.2)
    asked = child(code)
    with pytest.raises(Lost, match=said):
        asked.ask({"ask": "device"}, 20)
    assert asked.pid is None


def test_an_error_keeps_the_process(child):
    asked = child("c.send(json.dumps({'id': 1, 'error': 'no such device'}).encode()); c.recv(1)")
    with pytest.raises(Refused, match="no such device"):
        asked.ask({"ask": "device"}, 20)
    assert is_alive(asked.pid)


def test_an_error_is_shown_on_one_line(child):
    error = "a\n2026 CRITICAL forged\x1b[2J" + "b" * 60000
    asked = child(f"c.send(json.dumps({{'id': 1, 'error': {error!r}}}).encode()); c.recv(1)")
    with pytest.raises(Refused) as refused:
        asked.ask({"ask": "device"}, 20)
    assert str(refused.value).startswith("a\\n2026 CRITICAL forged\\x1b[2Jb")
    assert len(str(refused.value)) < 1000


def test_asking_can_be_stopped(child):
    asked = child("import signal; signal.pause()")
    asked.stop()
    with pytest.raises(Stopped):
        asked.ask({"ask": "device"}, 60)
    assert asked.pid is None


def test_no_process_can_be_started(child, monkeypatch):
    asked = child("pass")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The lowest free number: the limit is on numbers, and there may be gaps below the highest.
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(Lost, match=r"can't be started: .*Too many open files"):
            asked.ask({"ask": "device"}, 20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
