"""How fields are shown: with units to people, as bare numbers to machines (``-f json``)."""

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cliff.columns import FormattableColumn
from osc_lib.cli.format_columns import DictColumn, ListColumn

from gpupool.client.rest import Item

GIB = 1024
NS_PER_MS = 10**6
NS_PER_S = 10**9
_HOUR = 3600
# Characters of what is cut, and of lines of what is wrapped: tables are to fit 120 columns.
BRIEF, WRAPPED, LINE, KINDS = 40, 44, 92, 18
# States of a claim in which no host holds vGPUs for it: its count is what it waits for.
_WAITS = frozenset({"queued", "allocating", "suspended"})


class MiB(FormattableColumn[int]):
    """A size in MiB."""

    def human_readable(self) -> str:
        """Return the size in GiB where it is a whole number of them, else in MiB."""
        if self._value and self._value % GIB == 0:
            return f"{self._value // GIB} GiB"
        return f"{self._value} MiB"


class Percent(FormattableColumn[int]):
    """A share of one device's compute."""

    def human_readable(self) -> str:
        """Return the percentage with its sign."""
        return f"{self._value} %"


class Gain(FormattableColumn[float]):
    """A part of a device's room, which may be a fraction of a percent."""

    def human_readable(self) -> str:
        """Return the percentage with its sign."""
        return f"{self._value:.1f} %"


class Nanoseconds(FormattableColumn[int]):
    """A time span."""

    def human_readable(self) -> str:
        """Return the time in seconds, in ms below one second, and in hours from one hour on."""
        if self._value < NS_PER_S:
            return f"{self._value / NS_PER_MS:.1f} ms"
        seconds = self._value / NS_PER_S
        return f"{seconds:.1f} s" if seconds < _HOUR else f"{seconds / _HOUR:.1f} h"


class Seconds(FormattableColumn[int]):
    """A time span that somebody chose."""

    def human_readable(self) -> str:
        """Return the time in the largest unit of which it is a whole number."""
        for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
            if self._value and self._value % seconds == 0:
                return f"{self._value // seconds} {unit}"
        return f"{self._value} s"


class Cores(FormattableColumn[int]):
    """Processors, in thousandths of a core."""

    def human_readable(self) -> str:
        """Return the number of cores."""
        return f"{self._value / 1000:g} cores"


class Counts(FormattableColumn[dict[str, int]]):
    """How many of each kind."""

    def human_readable(self) -> str:
        """Return the kinds of which there are any, in lines of KINDS characters where that is enough."""
        # A count and its kind stay in one line: textwrap does not break at the space between them.
        kinds = ", ".join(f"{count}\xa0{kind}" for kind, count in self._value.items() if count)
        return "\n".join(textwrap.wrap(kinds, KINDS, break_long_words=False)).replace("\xa0", " ")


class Nothing(FormattableColumn[None]):
    """What is not there."""

    def human_readable(self) -> str:
        """Return nothing."""
        return ""


class Moment(FormattableColumn[str]):
    """A moment, ISO 8601 in UTC."""

    def human_readable(self) -> str:
        """Return the moment to the second, as 2030-01-31T12:00:00Z; options take it so, too."""
        return f"{self._value.partition('.')[0].removesuffix('Z')}Z"


class Brief(FormattableColumn[str]):
    """A text of which a line of a table shows the beginning."""

    def human_readable(self) -> str:
        """Return at most BRIEF characters."""
        return self._value if len(self._value) <= BRIEF else f"{self._value[: BRIEF - 3]}..."


class Wrapped(FormattableColumn[str]):
    """Sentences, which a table shows in several lines."""

    def human_readable(self) -> str:
        """Return lines of at most WRAPPED characters."""
        return "\n".join(textwrap.wrap(self._value, WRAPPED))


class DeviceName(FormattableColumn[str]):
    """A device as HOST/KEY; keys of GPUs have 40 characters."""

    def human_readable(self) -> str:
        """Return it in two lines when it is long."""
        host, _, key = self._value.partition("/")
        return self._value if len(self._value) <= WRAPPED else f"{host}/\n{key}"


class Cell(FormattableColumn[Any]):
    """A value that programs get, and a text that people read in its place."""

    def __init__(self, value: Any, text: str) -> None:
        super().__init__(value)
        self._text = text

    def human_readable(self) -> str:
        """Return the text."""
        return self._text


class YesNo(FormattableColumn[bool]):
    """A truth value."""

    def human_readable(self) -> str:
        """Return yes or no."""
        return "yes" if self._value else "no"


_SHOWN: Mapping[str, type[FormattableColumn[Any]]] = {
    **dict.fromkeys(
        (
            "bound_at",
            "created_at",
            "ended_at",
            "held_until",
            "last_seen_at",
            "lease_end",
            "started_at",
            "starts_at",
            "updated_at",
        ),
        Moment,
    ),
    "applied": YesNo,
    "busy_ns": Nanoseconds,
    "claims": Counts,
    "compute": Percent,
    "compute_overcommit": Percent,
    "compute_granted": Percent,
    "compute_total": Percent,
    "cost_mib": MiB,
    "cpu_milli": Cores,
    "devices": ListColumn,
    "enabled": YesNo,
    "environment": DictColumn,
    "extends_memory": YesNo,
    "forbidden_traits": ListColumn,
    "gain": Gain,
    "granted_devices": ListColumn,
    "host_memory_mib": MiB,
    "in_placement": YesNo,
    "leader": YesNo,
    "linked": YesNo,
    "memory_mib": MiB,
    "memory_mib_granted": MiB,
    "memory_mib_total": MiB,
    "memory_overcommit": Percent,
    "memory_used_mib": MiB,
    "min_run_time": Seconds,
    "pending_fingerprints": ListColumn,
    "preemptible": YesNo,
    "refused_by": ListColumn,
    "required_traits": ListColumn,
    "reserved_mib": MiB,
    "same_host": YesNo,
    "same_type": YesNo,
    "simulated": YesNo,
    "time_limit": Seconds,
    "traits": ListColumn,
    "vgpu_ids": ListColumn,
}


@dataclass(frozen=True)
class Column:
    """One column of a list: the field of the item and its title.

    ``people`` is False where a table, which is to fit 120 columns, has it by ``--long`` only;
    ``programs`` is False where it says in short what others say, for people alone.
    """

    field: str
    title: str
    people: bool = True
    programs: bool = True


def shown(item: Item, name: str) -> Any:
    """Return the field as it is to be shown; people see nothing for what is not there."""
    value = item.get(name)
    if value is None:
        return Nothing(None)
    if isinstance(value, FormattableColumn):
        return value
    if name == "count" and item.get("min_count") is not None:
        return Cell(value, elastic(item))
    kind = _SHOWN.get(name)
    # A count of devices is a plain number, a claim's list of them is a list.
    if kind is None or (kind is ListColumn and not isinstance(value, list)):
        return value
    return kind(value)


def table(
    items: Sequence[Item], columns: Sequence[Column]
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Return titles and rows, as a Lister wants them."""
    titles = tuple(column.title for column in columns)
    return titles, [tuple(shown(item, column.field) for column in columns) for item in items]


def elastic(item: Item) -> str:
    """Return how many vGPUs an elastic claim has, of which range; the range alone while it has none.

    A profile has none ever.
    """
    between = f"{item['min_count']}-{item['max_count']}"
    state = item.get("state")
    if isinstance(state, FormattableColumn):
        state = state.machine_readable()
    return between if state is None or state in _WAITS else f"{item['count']} of {between}"


def size(item: Item) -> str:
    """Return what a claim or profile asks for: how many shares of devices, and how large each is.

    Nothing where an older service does not say.
    """
    if None in (item.get("compute"), item.get("memory_mib")):
        return ""
    share = f"{Percent(item['compute']).human_readable()}, {MiB(item['memory_mib']).human_readable()}"
    count = item.get("count", 1)
    if item.get("min_count") is not None:
        count = elastic(item)
    return share if count == 1 else f"{count} x {share}"


def is_for_people(parsed: argparse.Namespace) -> bool:
    """Return whether the output is a table whose columns were not chosen by name."""
    return getattr(parsed, "formatter", "table") == "table" and not getattr(parsed, "columns", None)


def chosen(
    parsed: argparse.Namespace, columns: Sequence[Column], long_columns: Sequence[Column] = ()
) -> list[Column]:
    """Return the columns of a list: for people, for programs, or all where some are named by ``-c``."""
    if getattr(parsed, "columns", None):
        return [*columns, *long_columns]
    long = list(long_columns) if parsed.long else []
    if not is_for_people(parsed):
        return [column for column in [*columns, *long] if column.programs]
    if not parsed.long:
        return [column for column in columns if column.people]
    return [*columns, *long]


@dataclass(frozen=True)
class Layout:
    """What a table shows of one item without ``--long``, in order.

    ``first`` and ``last`` where they say anything; ``unless`` between them, where a field is not as it
    mostly is.
    """

    first: Sequence[str] = ()
    unless: Mapping[str, Any] = field(default_factory=dict)
    last: Sequence[str] = ()

    def fields(self, item: Item) -> list[str]:
        """Return the fields to show; those that are empty are not."""
        first, last = (
            [name for name in names if item.get(name) not in _EMPTY] for names in (self.first, self.last)
        )
        unusual = [name for name, usual in self.unless.items() if item.get(name) not in (usual, None)]
        return first + unusual + last


EVERYTHING = Layout()
_EMPTY: tuple[object, ...] = (None, "", [], {})


def details(
    item: Item, parsed: argparse.Namespace | None = None, layout: Layout = EVERYTHING
) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Return fields and values, as a ShowOne wants them; links never.

    People get what ``layout`` says; programs, and people who ask for it, everything: id and name first.
    """
    short = layout.first and parsed and is_for_people(parsed) and not getattr(parsed, "long", False)
    if short:
        fields = layout.fields(item)
    else:
        known = [name for name in ("id", "name") if name in item]
        fields = known + sorted(item.keys() - {"id", "name", "links"})
    return tuple(fields), tuple(_in_lines(shown(item, name)) for name in fields)


def _in_lines(value: Any) -> Any:
    """Return a value that people read in several lines where it is long, programs as it is."""
    bare = value.machine_readable() if isinstance(value, FormattableColumn) else value
    text = str(value.human_readable() if isinstance(value, FormattableColumn) else value)
    if len(text) <= LINE:
        return value
    if isinstance(bare, list):
        return Cell(bare, "\n".join(map(str, bare)))
    if isinstance(bare, dict):
        return Cell(bare, "\n".join(f"{name}={each}" for name, each in bare.items()))
    return Cell(bare, "\n".join(textwrap.wrap(text, LINE))) if isinstance(bare, str) else value
