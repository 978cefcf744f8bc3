"""How fields are shown: with units to people, as bare numbers to machines (``-f json``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cliff.columns import FormattableColumn
from osc_lib.cli.format_columns import DictColumn, ListColumn

from gpupool.client.rest import Item

GIB = 1024
NS_PER_MS = 10**6
NS_PER_S = 10**9


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
        """Return the time in seconds, or in ms below one second."""
        if self._value < NS_PER_S:
            return f"{self._value / NS_PER_MS:.1f} ms"
        return f"{self._value / NS_PER_S:.1f} s"


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
        """Return the kinds of which there are any."""
        return ", ".join(f"{count} {kind}" for kind, count in self._value.items() if count)


class Nothing(FormattableColumn[None]):
    """What is not there."""

    def human_readable(self) -> str:
        """Return nothing."""
        return ""


class Trouble(FormattableColumn[str]):
    """A health of which only what is not in order is worth a look."""

    def human_readable(self) -> str:
        """Return nothing for ok."""
        return "" if self._value == "ok" else self._value


class YesNo(FormattableColumn[bool]):
    """A truth value."""

    def human_readable(self) -> str:
        """Return yes or no."""
        return "yes" if self._value else "no"


_SHOWN: Mapping[str, type[FormattableColumn[Any]]] = {
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
    "trouble": Trouble,
    "vgpu_ids": ListColumn,
}


@dataclass(frozen=True)
class Column:
    """One column of a list: the field of the item and its title."""

    field: str
    title: str


def shown(item: Item, field: str) -> Any:
    """Return the field as it is to be shown; people see nothing for what is not there."""
    value = item.get(field)
    if value is None:
        return Nothing(None)
    kind = _SHOWN.get(field)
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


def details(item: Item) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Return fields and values, as a ShowOne wants them: id and name first, links never."""
    first = [name for name in ("id", "name") if name in item]
    fields = first + sorted(item.keys() - {"id", "name", "links"})
    return tuple(fields), tuple(shown(item, field) for field in fields)
