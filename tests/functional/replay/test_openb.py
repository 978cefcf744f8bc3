"""gpupool-replay openb, on a small cluster."""

import csv
import os
from itertools import pairwise
from threading import Thread

import matplotlib
import pytest

from gpupool.model import errors
from gpupool.replay import openb_run
from gpupool.replay.report import KEYS
from tests.functional.replay.conftest import Command

SEEDED = (*KEYS, "seed")


def test_json(command: Command) -> None:
    """One object, of all keys; nothing else on standard output."""
    called = command.openb("--seeds", "1-3", "--json")
    assert called.code == 0
    assert "3 of 3 seeds done" in called.err
    found = called.found
    assert set(KEYS) <= set(found)
    assert found["assumptions"]["seeds"] == [1, 2, 3]
    assert found["assumptions"]["devices"] == 24
    assert 0 <= found["unallocated_at_130"] <= found["unallocated_at_100"] <= 100
    assert found["remote_percent"] == 0
    for kind in ("decision", "decision_cpu"):
        times = [found[f"{kind}_{which}_ms"] for which in ("p50", "p99", "max")]
        assert 0 < times[0] <= times[1] <= times[2]
    assert found["waiting_mean_s"] is None
    means = [row["unallocated_at_100"] for row in found["rows"]]
    assert found["unallocated_at_100"] == pytest.approx(sum(means) / 3)


def test_same_seed_same_result(command: Command) -> None:
    def rows(*arguments: object) -> list[dict[str, object]]:
        found = command.openb("--json", "--seeds", "4,7-8", *arguments).found["rows"]
        return [{key: value for key, value in row.items() if not key.endswith("_ms")} for row in found]

    assert rows() == rows("--processes", 2)


@pytest.mark.parametrize("policy", ["fgd", "best-fit", "pack", "spread", "random"])
def test_policies(policy: str, command: Command) -> None:
    found = command.openb("--policy", policy, "--json").found
    assert found["assumptions"]["policy"] == policy
    assert found["fragmented_at_100"] <= found["uncovered_at_100"]


def test_what_gives_room(command: Command) -> None:
    """Remote devices and oversubscription leave no more idle; what is kept back, no less."""

    def idle(*arguments: object) -> float:
        found = command.openb("--json", "--seeds", "1-5", *arguments).found
        return float(found["unallocated_at_130"])

    local = idle()
    assert idle("--remote") <= local
    assert idle("--remote", "--oversubscribe", "1.14") <= idle("--remote")
    assert idle("--reserve-cpu", 31) > local
    assert idle("--mix", "recent") < 100


def test_moves(command: Command) -> None:
    """Where a vGPU may move to make room, no more stays idle; how many did is said."""
    plain = command.openb("--json", "--remote", "--seeds", "1-5").found
    moved = command.openb("--json", "--remote", "--moves", "--seeds", "1-5").found
    assert plain["moved"] is plain["make_room_p50_ms"] is None
    assert moved["moved"] > 0
    assert 0 < moved["make_room_p50_ms"] <= moved["make_room_p99_ms"]
    assert moved["unallocated_at_130"] <= plain["unallocated_at_130"]


def test_oversubscription_grants_more_than_there_is(command: Command) -> None:
    """But no single device is counted as more than itself, and no whole device is given twice."""
    found = command.openb("--json", "--oversubscribe", 2, "--seeds", "1-3").found
    assert found["unallocated_at_130"] == 0
    assert found["uncovered_at_130"] > 0


def test_scale(command: Command) -> None:
    found = command.openb("--json", "--scale", 3).found
    assert (found["assumptions"]["hosts"], found["assumptions"]["devices"]) == (24, 72)


def test_course(command: Command) -> None:
    """The CSV has the pool at every full percent; the figures are of its lines."""
    path = command.folder / "out.csv"
    found = command.openb("--json", "--seeds", "2", "--remote", "--csv", path).found
    with path.open() as file:
        rows = list(csv.DictReader(file))
    arrived = [float(row["arrived_percent"]) for row in rows]
    assert all(before < after for before, after in pairwise(arrived))
    assert arrived[-1] >= 130
    full = next(row for row in rows if float(row["arrived_percent"]) >= 100)
    assert float(full["unallocated_percent"]) == pytest.approx(found["unallocated_at_100"], abs=1e-3)
    assert float(full["remote_percent"]) == pytest.approx(found["remote_percent"], abs=1e-3)


@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_plot(suffix: str, start: bytes, command: Command) -> None:
    path = command.folder / f"out.{suffix}"
    assert command.openb("--seeds", "1,2", "--plot", path).code == 0
    assert path.read_bytes().startswith(start)


def test_a_plot_says_what_it_is_of(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace, load and policy in the title, each seed and the mean in the legend."""
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    path = command.folder / "out.svg"
    assert command.openb("--seeds", "1,2", "--remote", "--plot", path).code == 0
    drawn = path.read_text()
    for text in (
        "p.csv: 24 pods, up to 130 % of 24 devices",
        "policy fgd, remote devices",
        "seed 1",
        "seed 2",
        "mean",
    ):
        assert f">{text}<" in drawn, text
    assert command.openb("--seeds", "1-9", "--plot", path).code == 0
    assert ">each of 9 seeds<" in path.read_text()


def test_table(command: Command) -> None:
    called = command.openb("--seeds", "1-2")
    lines = called.out.splitlines()
    assert "devices: 24" in lines
    assert any(line.split() == ["mean", "least", "most"] for line in lines)
    assert any(line.startswith(KEYS["unallocated_at_100"]) for line in lines)
    assert not any("waiting" in line for line in lines)


def test_a_report_is_printed_whatever_becomes_of_the_files(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may take hours, and a disk be full when it is over."""

    def full(*_: object) -> None:
        raise errors.Invalid("the disk is full")

    monkeypatch.setattr(openb_run, "write_points", full)
    called = command.openb("--json", "--csv", command.folder / "out.csv")
    assert (called.code, called.found["assumptions"]["devices"]) == (1, 24)
    assert called.err.endswith("gpupool-replay: the disk is full\n")


def test_what_is_rounded_is_said(command: Command) -> None:
    command.pods.write_text(command.pods.read_text().replace(",460,", ",461,"))
    assert "pods rounded up to whole percents: 3" in command.openb().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--seeds", "5-1"], "'5-1' are no seeds; allowed: such as 3 or 1-10 or 1,4"),
        (["--seeds", "x"], "'x' are no seeds"),
        (["--oversubscribe", "0.9"], "'0.9' is not allowed; allowed: 1 to 100, in steps of 0.01"),
        (["--oversubscribe", "1.004"], "'1.004' is not allowed; allowed: 1 to 100, in steps of 0.01"),
        (["--reserve-cpu", "nan"], "'nan' is not allowed; allowed: 0 to 1000000, in steps of 0.001"),
        (["--reserve-cpu", "0.0004"], "'0.0004' is not allowed; allowed: 0 to 1000000, in steps of"),
        (["--scale", "0"], "'0' is no number of things; allowed: 1 to 999999"),
        (
            ["--policy", "worst"],
            "'worst' is not allowed; allowed: fgd, best-fit, pack, spread, random",
        ),
    ],
)
def test_arguments_that_are_refused(
    arguments: list[str], reason: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.openb(*arguments)
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("ratio", [1.14, 1.13, 2.3, 100])
def test_whole_percents_are_kept_to(ratio: float, command: Command) -> None:
    """Whatever a computer makes of 100 times 1.13 or 2.3."""
    assert (
        command.openb("--json", "--oversubscribe", ratio).found["assumptions"]["oversubscribe"] == ratio
    )


def test_files_that_can_be_read_once(command: Command) -> None:
    """As those are that a shell makes of what a command prints."""
    plain = command.openb("--json", "--seeds", "1-2").found["rows"]
    pipes = {}
    for path in (command.nodes, command.pods):
        pipes[path] = path.with_suffix(".pipe")
        os.mkfifo(pipes[path])
    writers = [
        Thread(target=pipe.write_text, args=(path.read_text(),), daemon=True)
        for path, pipe in pipes.items()
    ]
    for writer in writers:
        writer.start()
    command.nodes, command.pods = pipes.values()
    called = command.openb("--json", "--seeds", "1-2", "--processes", 2)
    assert called.code == 0
    found = [row["unallocated_at_100"] for row in called.found["rows"]]
    assert found == [row["unallocated_at_100"] for row in plain]


def test_files_that_are_refused(command: Command) -> None:
    """On one line of standard error, with what is allowed, and before anything is replayed."""
    called = command.openb("--plot", command.folder / "out.pdf")
    assert (called.code, called.out) == (1, "")
    assert called.err.endswith("allowed: names that end in .svg, .png\n")
    called = command.openb("--plot", command.folder / "none" / "out.svg")
    assert called.err.endswith("out.svg'; allowed: a file that can be written\n")
    for path in (command.folder / "none" / "out.csv", command.folder):
        called = command.openb("--csv", path)
        assert (called.code, called.out) == (1, "")
        assert (
            called.err == f"gpupool-replay: csv is {str(path)!r}; allowed: a file that can be written\n"
        )
    command.pods.write_text("name\np\n")
    called = command.openb("--json")
    assert (called.code, called.out) == (1, "")
    assert called.err.startswith(f"gpupool-replay: {command.pods} line 1: there is no column cpu_milli")


def test_lines_that_are_left_out(command: Command) -> None:
    """The first that does not fit ends the replay; or they are left out, counted and named."""
    rows = command.pods.read_text().splitlines()
    rows[3:5] = ["pod-2,x,1024,1,500,", "pod-3,1000,1024,1,500,H100", "pod-4,1000"]
    command.pods.write_text("\n".join(rows))
    first = f"{command.pods} line 4: cpu_milli is 'x'; allowed: a whole number from 0 to 2147483647"
    called = command.openb("--json")
    assert (called.code, called.out, called.err) == (1, "", f"gpupool-replay: {first}\n")
    called = command.openb("--json", "--skip-bad-lines")
    assert called.found["assumptions"]["lines left out"] == 3
    assert called.err.startswith(
        f"lines left out: 3\n  {first}\n"
        f"  {command.pods} line 5: gpu_spec is 'H100', of which no node has any GPU; allowed: A10, T4\n"
        f"  {command.pods} line 6: 2 fields; allowed: 6, as in line 1\n"
    )


def test_optional_columns(command: Command) -> None:
    """Left out on purpose, or by a slip of the pen."""
    pods = command.pods.read_text()
    assert command.openb("--json").found["assumptions"]["pods that name GPU models"] == 3
    command.pods.write_text("\n".join(line.rpartition(",")[0] for line in pods.splitlines()))
    assert command.openb("--json").found["assumptions"]["pods that name GPU models"] == 0
    command.pods.write_text(pods.replace("gpu_spec", "gpu_spce"))
    called = command.openb("--json")
    assert (called.code, called.out) == (1, "")
    assert "line 1: column 'gpu_spce' is not known; is gpu_spec meant?" in called.err
