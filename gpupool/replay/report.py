"""What a replay found: as a table for people, as one JSON object, as CSV."""

import csv
import json
import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpupool.model import errors

Values = Mapping[str, float | None]
# An assumption of every replay: how many lines did not fit and were left out.
LEFT_OUT = "lines left out"
# Every key of a report, and how people call it. Percent are of the pool's devices unless said.
KEYS = {
    "unallocated_at_100": "unallocated at 100 % demand, %",
    "unallocated_at_130": "unallocated at 130 % demand, %",
    "uncovered_at_100": "of single devices unallocated at 100 % demand, %",
    "uncovered_at_130": "of single devices unallocated at 130 % demand, %",
    "fragmented_at_100": "of no use to the mix at 100 % demand, %",
    "fragmented_at_130": "of no use to the mix at 130 % demand, %",
    "allocated_percent": "allocated, mean over time, %",
    "fragmented_percent": "of no use to the mix, mean over time, %",
    "remote_percent": "claims with a device of another host, %",
    "waiting_mean_s": "waiting time, mean, s",
    "waiting_median_s": "waiting time, median, s",
    "waiting_p99_s": "waiting time, 99th percentile, s",
    "completion_mean_s": "completion time, mean, s",
    "completion_median_s": "completion time, median, s",
    "completion_p99_s": "completion time, 99th percentile, s",
    "completion_ratio": "completion time over the first column's, of claims completed in both",
    "compared": "claims completed in this column and the first",
    "completed": "claims that ran to their end",
    "refused": "claims refused: the pool can never hold them",
    "never_started": "claims that never started",
    "preempted": "preemptions",
    "moved": "moves of a vGPU",
    "decision_p50_ms": "decision time, median, ms",
    "decision_p99_ms": "decision time, 99th percentile, ms",
    "decision_max_ms": "decision time, longest, ms",
    "decision_cpu_p50_ms": "decision, median of processor time, ms",
    "decision_cpu_p99_ms": "decision, 99th percentile of processor time, ms",
    "decision_cpu_max_ms": "decision, most processor time, ms",
    "make_room_p50_ms": "looking for a move that makes room, median, ms",
    "make_room_p99_ms": "looking for a move that makes room, 99th percentile, ms",
    "pass_p50_ms": "queue pass, median, ms",
    "pass_p99_ms": "queue pass, 99th percentile, ms",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """One replay.

    ``rows`` are its runs by name; keys that do not apply are left out. ``headline`` is the row that is
    the answer, by its own name, or the mean of all if that is "mean". ``assumptions`` says what was
    replayed under which conditions.
    """

    replay: str
    assumptions: Mapping[str, object]
    rows: Mapping[str, Values]
    headline: str

    def answer(self) -> Values:
        """Return the headline's values, of all keys; None where a key does not apply."""
        rows = list(self.rows.values()) if self.headline == "mean" else [self.rows[self.headline]]
        return {key: _mean([row.get(key) for row in rows]) for key in KEYS}


def as_json(report: Report) -> str:
    """Return one JSON object: the headline's keys, what was assumed, and every row."""
    rows = [{"name": name, **row} for name, row in report.rows.items()]
    everything = {"replay": report.replay, **report.answer(), "assumptions": report.assumptions}
    return json.dumps({**everything, "rows": rows}, indent=2)


def as_text(report: Report) -> str:
    """Return the assumptions and a table of a line a key and a column a row.

    Where the headline is the mean, the columns are mean, least and most.
    """
    columns: dict[str, Values] = dict(report.rows)
    if report.headline == "mean":
        rows = list(report.rows.values())
        columns = {
            "mean": report.answer(),
            "least": {key: _pick(min, [row.get(key) for row in rows]) for key in KEYS},
            "most": {key: _pick(max, [row.get(key) for row in rows]) for key in KEYS},
        }
    lines = [f"{name}: {_plain(value)}" for name, value in report.assumptions.items()]
    lines += ["", *_table(columns)]
    return "\n".join(lines)


def check_writable(what: str, path: Path) -> None:
    """Raise Invalid unless a file can be written there; before what it is to hold is made."""
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise errors.Invalid(f"{what} is {str(path)!r}; allowed: a file that can be written")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file; raises Invalid when that can't be done."""
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
    except OSError as exc:
        raise errors.Invalid(f"{path} can't be written: {exc.strerror}") from exc


def _table(columns: Mapping[str, Values]) -> list[str]:
    keys = [key for key in KEYS if any(row.get(key) is not None for row in columns.values())]
    if not keys:
        return []
    label = max(len(KEYS[key]) for key in keys)
    widths = {name: max(len(name), 10) for name in columns}
    header = " " * label + "".join(f"  {name:>{widths[name]}}" for name in columns)
    body = [
        f"{KEYS[key]:<{label}}"
        + "".join(f"  {_plain(row.get(key)):>{widths[name]}}" for name, row in columns.items())
        for key in keys
    ]
    return [header, *body]


def _plain(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3f}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _pick(choose: Callable[[list[float]], float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return choose(known) if known else None
