"""Plots as files, SVG or PNG. Needs matplotlib, the extra ``gpupool[replay]``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpupool.model import errors
from gpupool.replay.report import check_writable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")
DAY = 86400
Line = tuple[Sequence[float], Sequence[float]]


def check(path: Path) -> None:
    """Raise Invalid unless a plot can be made and have this name; before what it is to show is made."""
    if path.suffix not in SUFFIXES:
        raise errors.Invalid(f"plot is {str(path)!r}; allowed: names that end in {', '.join(SUFFIXES)}")
    check_writable("plot", path)
    _figure(1)


def filling(path: Path, unallocated: Mapping[str, Line], fragmented: Mapping[str, Line]) -> None:
    """Draw what is free, and what of it is of no use, over what arrived; both by name of a run.

    A second picture shows the end of the first from nearer.
    """
    figure, pictures = _figure(2)
    for axes in pictures:
        for lines, label, color in (
            (unallocated, "unallocated", "C0"),
            (fragmented, "of no use to the mix", "C3"),
        ):
            for number, (arrived, percent) in enumerate(lines.values()):
                axes.plot(arrived, percent, color=color, alpha=0.6, label="" if number else label)
        axes.set(
            xlabel="demand that has come, % of the pool",
            ylabel="% of the pool's devices",
            ylim=(0, None),
        )
        axes.grid(alpha=0.3)
        axes.legend()
    pictures[1].set(xlim=(80, None), ylim=(0, 25))
    _save(figure, path)


def queues(
    path: Path,
    completion: Mapping[str, Sequence[float]],
    allocated: Mapping[str, Line],
    waiting: Mapping[str, Line],
) -> None:
    """Draw the share of claims done within a time; what is allocated and waits over time; by run."""
    figure, [done, busy, idle] = _figure(3)
    for name, values in completion.items():
        ordered = sorted(values)
        shares = [100 * (number + 1) / len(ordered) for number in range(len(ordered))]
        done.step([max(value, 1.0) for value in ordered], shares, where="post", label=name)
    done.set(
        xscale="log", xlabel="completion time, s", ylabel="% of claims done within it", ylim=(0, 100)
    )
    for axes, lines in ((busy, allocated), (idle, waiting)):
        for name, (seconds, levels) in lines.items():
            days = [second / DAY for second in seconds]
            axes.step(days, levels, where="post", label=name, linewidth=0.8)
    busy.set(xlabel="days", ylabel="% of the pool allocated", ylim=(0, None))
    idle.set(xlabel="days", ylabel="claims that wait", ylim=(0, None))
    for axes in (done, busy, idle):
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def stacked(
    path: Path,
    hours: Sequence[float],
    layers: Mapping[str, Sequence[float]],
    lines: Mapping[str, Sequence[float]],
) -> None:
    """Draw layers on each other and lines over them, percent of the pool over hours."""
    figure, [axes] = _figure(1)
    axes.stackplot(hours, *layers.values(), labels=list(layers), step="post", alpha=0.8)
    for name, values in lines.items():
        axes.step(hours, values, where="post", color="black", linewidth=1.0, label=name)
    axes.set(xlabel="hours", ylabel="% of the pool's devices", ylim=(0, None))
    axes.set_xlim(min(hours, default=0), max(hours, default=1))
    figure.legend(loc="outside right upper")
    _save(figure, path)


def _figure(columns: int) -> "tuple[Figure, list[Axes]]":
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra: only those who plot need it
    except ImportError as exc:
        raise errors.Invalid("a plot needs matplotlib: pip install 'gpupool[replay]'") from exc
    figure = Figure(figsize=(5.5 * columns, 4.5), layout="constrained")
    return figure, [figure.add_subplot(1, columns, number + 1) for number in range(columns)]


def _save(figure: "Figure", path: Path) -> None:
    try:
        figure.savefig(path, dpi=150)
    except OSError as exc:
        raise errors.Invalid(f"{path} can't be written: {exc.strerror}") from exc
