"""Plots as files, SVG or PNG. Needs matplotlib, the extra ``gpupool[replay]``.

Colours are those of Okabe and Ito, which people with any kind of colour vision tell apart
(https://jfly.uni-koeln.de/color/); lines differ in their dashes too, so that they do in grey.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpupool.model import errors
from gpupool.replay.report import check_writable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")
HOUR, DAY = 3600, 86400
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
# From which percent of demand on a plot shows the end from nearer.
_NEARER = 90
# More runs than these are not told apart in a legend.
_NAMED = 8
_MOMENTS = {
    "1 s": 1, "10 s": 10, "1 min": 60, "10 min": 600, "1 h": HOUR, "10 h": 10 * HOUR,
    "1 day": DAY, "10 days": 10 * DAY, "100 days": 100 * DAY,
}  # fmt: skip
Line = tuple[Sequence[float], Sequence[float]]


def check(path: Path) -> None:
    """Raise Invalid unless a plot can be made and have this name; before what it is to show is made."""
    if path.suffix not in SUFFIXES:
        raise errors.Invalid(f"plot is {str(path)!r}; allowed: names that end in {', '.join(SUFFIXES)}")
    check_writable("plot", path)
    _figure("", 1)


def filling(
    path: Path, title: str, unallocated: Mapping[str, Line], fragmented: Mapping[str, Line]
) -> None:
    """Draw what is free, and what of it is of no use, over what arrived; each run, and their mean.

    A second column shows the end of the first from nearer.
    """
    figure, pictures = _figure(title, 2, 2)
    for number, (lines, label) in enumerate(
        ((unallocated, "unallocated"), (fragmented, "of no use to the mix of demands"))
    ):
        whole, end = pictures[2 * number : 2 * number + 2]
        _runs(whole, lines)
        _runs(end, {name: _from(_NEARER, line) for name, line in lines.items()})
        whole.set(ylabel=f"{label},\n% of the pool's devices", ylim=(0, None))
    for axes in pictures[2:]:
        axes.set(xlabel="demand that has come, % of the pool's devices")
    pictures[0].legend()
    _save(figure, path)


def _from(first: float, line: Line) -> Line:
    """Return the part of a line that begins at ``first``."""
    kept = [(at, level) for at, level in zip(*line, strict=True) if at >= first]
    return [at for at, _ in kept], [level for _, level in kept]


def _runs(axes: "Axes", lines: Mapping[str, Line]) -> None:
    """Draw each run, and below them, thick and grey, the mean of all as far as every run goes."""
    if len(lines) > 1:
        moments = min((arrived for arrived, _ in lines.values()), key=len)
        columns = zip(*(percent for _, percent in lines.values()), strict=False)
        means = [statistics.fmean(column) for column in columns]
        axes.plot(moments, means, color="0.6", linewidth=4.0, label="mean")
    for number, (name, (arrived, percent)) in enumerate(lines.items()):
        label = name if len(lines) <= _NAMED else "" if number else f"each of {len(lines)} seeds"
        axes.plot(arrived, percent, label=label, linewidth=1.0, **_style(number))
    axes.grid(alpha=0.3)


def queues(
    path: Path,
    title: str,
    completion: Mapping[str, Sequence[float]],
    allocated: Mapping[str, Line],
    waiting: Mapping[str, Line],
) -> None:
    """Draw the share of claims done within a time; what is allocated and waits over time; by run."""
    figure, [done, busy, idle] = _figure(title, 3)
    styles = {name: _style(number) for number, name in enumerate({**allocated, **completion})}
    for name, values in completion.items():
        ordered = sorted(values)
        shares = [100 * (number + 1) / len(ordered) for number in range(len(ordered))]
        seen = [max(value, 1.0) for value in ordered]
        done.step(seen, shares, where="post", label=name, **styles[name])
    done.set(xscale="log", xlabel="completion time", ylabel="% of claims done within it", ylim=(0, 100))
    _in_moments(done, max((max(values, default=1) for values in completion.values()), default=1))
    unit, called = _unit(max((max(line[0], default=0) for line in allocated.values()), default=0))
    for axes, lines in ((busy, allocated), (idle, waiting)):
        for name, (seconds, levels) in lines.items():
            times = [second / unit for second in seconds]
            axes.step(times, levels, where="post", label=name, linewidth=0.8, **styles[name])
    busy.set(xlabel=called, ylabel="% of the pool allocated", ylim=(0, None))
    idle.set(xlabel=called, ylabel="claims that wait", ylim=(0, None))
    for axes in (done, busy, idle):
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def stacked(
    path: Path,
    title: str,
    hours: Sequence[float],
    layers: Mapping[str, Sequence[float]],
    lines: Mapping[str, Sequence[float]],
) -> None:
    """Draw layers on each other and lines over them, percent of the pool over hours."""
    figure, [axes] = _figure(title, 1)
    colors = [COLORS[number % len(COLORS)] for number in range(len(layers))]
    axes.stackplot(hours, *layers.values(), labels=list(layers), colors=colors, step="post", alpha=0.8)
    for name, values in lines.items():
        axes.step(hours, values, where="post", color="black", linewidth=1.0, label=name)
    axes.set(xlabel="hours", ylabel="% of the pool's devices", ylim=(0, None))
    axes.set_xlim(min(hours, default=0), max(hours, default=1))
    figure.legend(loc="outside right upper")
    _save(figure, path)


def _style(number: int) -> dict[str, Any]:
    return {"color": COLORS[number % len(COLORS)], "linestyle": DASHES[number % len(DASHES)]}


def _unit(seconds: float) -> tuple[float, str]:
    """Return a unit in which times up to ``seconds`` are read well, and its name."""
    if seconds >= 2 * DAY:
        return DAY, "days"
    return (HOUR, "hours") if seconds >= 2 * HOUR else (60, "minutes")


def _in_moments(axes: "Axes", longest: float) -> None:
    """Name times on a logarithmic axis as people do, from a second up to the ``longest``."""
    shown = {name: at for name, at in _MOMENTS.items() if at <= 10 * longest}
    axes.set_xticks(list(shown.values()), list(shown), rotation=30)
    axes.minorticks_off()


def _figure(title: str, columns: int, rows: int = 1) -> "tuple[Figure, list[Axes]]":
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra: only those who plot need it
    except ImportError as exc:
        raise errors.Invalid("a plot needs matplotlib: pip install 'gpupool[replay]'") from exc
    figure = Figure(figsize=(5.5 * columns, 4.5 if rows == 1 else 3.6 * rows), layout="constrained")
    figure.suptitle(title, fontsize="medium", parse_math=False)
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(rows * columns)]


def _save(figure: "Figure", path: Path) -> None:
    try:
        figure.savefig(path, dpi=150)
    except OSError as exc:
        raise errors.Invalid(f"{path} can't be written: {exc.strerror}") from exc
