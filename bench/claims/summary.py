"""From records and readings to figures, and from figures to what is printed."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.claims.load import Record
from bench.claims.meters import OTHERS, Reading, Request

# What a conductor logs once a transition is committed.
_MOVED = re.compile(r"^(\S+ \S+) .* claim (\S+) is (queued|allocating|binding|bound)\b")
STAGES = (
    ("due", "answered"),
    ("due", "queued"),
    ("queued", "allocating"),
    ("allocating", "binding"),
    ("binding", "bound"),
    ("bound", "seen"),
)
Figures = dict[str, Any]


def latencies(seconds: Sequence[float]) -> Figures:
    """Return mean, quantiles and maximum in ms of a sample; nothing of an empty one."""
    if not seconds:
        return {}
    p50, p90, p99 = np.percentile(seconds, [50, 90, 99])
    named = {"mean": np.mean(seconds), "p50": p50, "p90": p90, "p99": p99, "max": max(seconds)}
    return {f"{name}_ms": round(float(value) * 1000, 1) for name, value in named.items()}


def moves(logs: Iterable[Path]) -> dict[str, dict[str, float]]:
    """Return when each claim first came to each state, as the conductors logged it after the commit."""
    seen: dict[str, dict[str, float]] = defaultdict(dict)
    for path in logs:
        for line in path.read_text(errors="replace").splitlines():
            if found := _MOVED.match(line):
                at = datetime.fromisoformat(found[1]).timestamp()
                seen[found[2]][found[3]] = min(at, seen[found[2]].get(found[3], at))
    return seen


def claims(records: Sequence[Record], offered: float) -> Figures:
    """Return how many were bound, how fast, and how long each took from when it was due."""
    bound = [record for record in records if record.bound is not None]
    took = [record.bound - record.due for record in bound if record.bound is not None]
    figures: Figures = {
        "claims": len(records),
        "bound": len(bound),
        "vgpus": sum(record.sizes[0] for record in bound),
        "refused": Counter(record.error for record in records if record.error),
        "offered_per_s": offered,
        "claim_to_bound": latencies(took),
    }
    if bound:
        ends = sorted(record.bound for record in bound if record.bound is not None)
        figures["claims_per_s"] = round(len(ends) / (ends[-1] - min(each.due for each in records)), 1)
        # Without the beginning and the end, where the line is not full.
        tenth = len(ends) // 10
        middle = ends[tenth : len(ends) - tenth]
        # Bound claims are seen by polling: few of them may all be seen at one moment.
        if middle and middle[-1] > middle[0]:
            figures["steady_claims_per_s"] = round((len(middle) - 1) / (middle[-1] - middle[0]), 1)
    return figures


def stages(records: Sequence[Record], logs: Iterable[Path]) -> Figures:
    """Return how long claims spent between one stage and the next."""
    moved = moves(logs)
    times = []
    for record in records:
        of_claim = dict(moved.get(record.id, {}))
        seen = {"due": record.due, "queued": record.queued, "seen": record.bound}
        seen["answered"] = record.answered
        of_claim.update({name: at for name, at in seen.items() if at is not None})
        times.append(of_claim)
    return {
        f"{first} to {then}": latencies(
            [each[then] - each[first] for each in times if first in each and then in each]
        )
        for first, then in STAGES
    }


def costs(begin: Reading, end: Reading, count: int) -> Figures:
    """Return what the stretch between two readings has cost, in all and each of ``count`` things."""
    seconds = end.at - begin.at
    cpu = {name: end.cpu[name] - begin.cpu.get(name, 0.0) for name in end.cpu}
    statements = {
        account: {name: end_count - begin.statements[account][name] for name, end_count in after.items()}
        for account, after in end.statements.items()
    }
    agents = {name: value - begin.agents.get(name, 0) for name, value in end.agents.items()}
    messages = end.messages - begin.messages
    return {
        "seconds": round(seconds, 2),
        "cpu": {
            name: {
                "seconds": round(used, 2),
                "cores": round(used / seconds, 3),
                "ms_each": _each(used * 1000, count),
            }
            for name, used in cpu.items()
        },
        "statements_each": {
            account: {name: _each(value, count) for name, value in counted.items()}
            for account, counted in statements.items()
        },
        "messages_each": _each(messages, count),
        "messages_per_s": round(messages / seconds, 1),
        "agents": agents,
        "agents_each": {name: _each(value, count) for name, value in agents.items()},
    }


def requests(found: Sequence[Request], count: int) -> Figures:
    """Return how many requests of each kind there were, and how long Placement took for them."""
    kinds: dict[str, list[float]] = defaultdict(list)
    for request in found:
        kinds[f"{request.what} {request.status}"].append(request.spent / 1000)
    return {
        kind: {"count": len(spent), "per_claim": _each(len(spent), count), **latencies(spent)}
        for kind, spent in sorted(kinds.items(), key=lambda item: -sum(item[1]))
    }


def _each(value: float, count: int) -> float:
    return round(value / max(count, 1), 3)


def text(figures: Figures) -> str:
    """Return the figures as a person reads them."""
    lines = [f"{name:<28} {value}" for name, value in figures["setting"].items()]
    lines += ["", "SET-UP"]
    lines += [f"{name:<28} {value}" for name, value in figures["setup"].items()]
    lines += ["", "NOTHING BUT REPORTS, EACH REPORT", *_costs(figures["idle"])]
    for run in figures["runs"]:
        lines += ["", f"CLAIMS, {_offered(run)}", *_claims(run["claims"]), *_stages(run["stages"])]
        lines += ["", "WHERE THE TIME GOES, EACH BOUND CLAIM", *_costs(run["costs"])]
        lines += ["", "PLACEMENT'S REQUESTS", *_requests(run["requests"])]
    lines += ["", "IN SHORT", *_short(figures["runs"])]
    return "\n".join(lines)


def _offered(run: Figures) -> str:
    rate = run["claims"]["offered_per_s"]
    return f"{rate:g} a second" if rate else "as fast as the clients can"


def _short(runs: Sequence[Figures]) -> list[str]:
    lines = [f"{'claims':<28} {'bound/s':>9} {'p50 ms':>9} {'p99 ms':>9} {'cores':>9} {'ms each':>9}"]
    for run in runs:
        used = [each for name, each in run["costs"]["cpu"].items() if name != OTHERS]
        columns = (
            run["claims"].get("claims_per_s", 0.0),
            run["claims"]["claim_to_bound"].get("p50_ms", float("nan")),
            run["claims"]["claim_to_bound"].get("p99_ms", float("nan")),
            sum(each["cores"] for each in used),
            sum(each["ms_each"] for each in used),
        )
        lines.append(f"{_offered(run):<28} " + " ".join(f"{column:>9.1f}" for column in columns))
    return lines


def _claims(figures: Figures) -> list[str]:
    shown = {key: value for key, value in figures.items() if value and key != "claim_to_bound"}
    return [f"{key:<28} {value}" for key, value in shown.items()]


def _stages(figures: Figures) -> list[str]:
    return ["", _header("ms from ... to ..."), *(_row(name, each) for name, each in figures.items())]


def _header(title: str) -> str:
    return f"{title:<44} {'mean':>9} {'p50':>9} {'p90':>9} {'p99':>9} {'max':>9}"


def _row(name: str, figures: Mapping[str, float]) -> str:
    columns = ("mean_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms")
    return f"{name:<44} " + " ".join(f"{figures.get(column, float('nan')):>9.1f}" for column in columns)


def _costs(figures: Figures) -> list[str]:
    lines = [f"{'processor time':<28} {'seconds':>9} {'cores':>9} {'ms each':>9}"]
    for name, used in figures["cpu"].items():
        line = f"{name:<28} {used['seconds']:>9.2f} {used['cores']:>9.3f} {used['ms_each']:>9.2f}"
        lines.append(line)
    lines.append(f"{'statements, each':<28} " + _pairs(figures["statements_each"]))
    lines.append(f"{'messages':<28} {figures['messages_each']} each, {figures['messages_per_s']} per s")
    lines.append(f"{'agents, each':<28} " + _pairs({"": figures["agents_each"]}))
    return lines


def _pairs(groups: Mapping[str, Mapping[str, float]]) -> str:
    return "; ".join(
        f"{group} ".lstrip() + ", ".join(f"{name} {value}" for name, value in each.items())
        for group, each in groups.items()
    )


def _requests(figures: Figures) -> list[str]:
    lines = [f"{'count':>7} {'/claim':>7} " + _header("what, status; ms")]
    for kind, each in figures.items():
        lines.append(f"{each['count']:>7} {each['per_claim']:>7.3f} " + _row(kind, each))
    return lines
