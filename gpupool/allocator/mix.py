"""The mix: what claims of late have asked for, which is what free shares are worth something for."""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import fields
from operator import attrgetter

from gpupool.allocator.demand import Demand

# As the authors of the measure do, rare demands are left out: the commonest that make up so much.
COVERED = 0.95
WINDOW = 1000
# More kinds than this make every decision slower and none better.
KINDS = 256
# So many amounts of CPU and so many of device memory are told apart: tables are as large as both.
SIZES = 24
# How much of a mix has to be another before it is weighed anew: all that goes by it is worked out again
# then. Two samples of a thousand from one hundred kinds differ by as much.
MOVED = 0.1
# How often it is looked at, for so many parts of it that are new.
_LOOKS = 20

Weights = tuple[tuple[Demand, float], ...]
_of_all_but_host = attrgetter(*(field.name for field in fields(Demand) if field.name != "host"))


class Mix:
    """The last ``window`` demands, and how common each kind is among them.

    A kind is what the measure of fragments sees of demands; where they ask for more than SIZES amounts
    of CPU or of device memory, the rarer are rounded up. ``weights`` are made anew when MOVED of the
    mix has changed, looked at whenever a twentieth of it has come since: nothing but the order of the
    demands decides about them.
    """

    def __init__(self, demands: Iterable[Demand] = (), window: int = WINDOW) -> None:
        self._recent: deque[Demand] = deque()
        self._counts: Counter[Demand] = Counter()
        self._window = window
        self._since = 0
        for demand in demands:
            self._push(demand)
        self._weigh()

    def add(self, demand: Demand) -> None:
        """Add the demand of a claim that has just come."""
        self._push(demand)
        self._since += 1
        if self._since * _LOOKS >= len(self._recent):
            self._since = 0
            if self._moved():
                self._weigh()

    @property
    def weights(self) -> Weights:
        """Each kind of demand with its share, the commonest first; the same object until it changes."""
        return self._weights

    def _push(self, demand: Demand) -> None:
        self._recent.append(demand)
        self._counts[demand] += 1
        if len(self._recent) > self._window:
            oldest = self._recent.popleft()
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]

    def _moved(self) -> bool:
        """Return whether MOVED of the mix is other demands than when it was weighed."""
        now, then = self._counts.total(), self._weighed.total()
        # In whole numbers, so that it depends on nothing else.
        same = sum(min(now * self._weighed[each], then * count) for each, count in self._counts.items())
        return now * then - same > MOVED * now * then or not then

    def _weigh(self) -> None:
        self._weighed = self._counts.copy()
        common = _commonest(self._counts, COVERED * len(self._recent))
        cpu, memory = Counter[int](), Counter[int]()
        for demand, count in common.items():
            # Programs without vGPUs are of one kind whatever they take.
            if demand.count:
                cpu[demand.cpu_milli] += count
                memory[demand.memory_mib] += count
        sizes = _sizes(cpu), _sizes(memory)
        kinds = Counter[Demand]()
        for demand, count in common.items():
            kinds[_kind(demand, *sizes)] += count
        chosen = dict(_ordered(kinds)[:KINDS])
        total = sum(chosen.values())
        self._weights: Weights = tuple((kind, count / total) for kind, count in chosen.items())


def _commonest(counts: Mapping[Demand, int], enough: float) -> dict[Demand, int]:
    """Return the commonest demands that come ``enough`` times in all."""
    found, covered = {}, 0
    for demand, count in _ordered(counts):
        if covered >= enough:
            break
        found[demand] = count
        covered += count
    return found


def _ordered(counts: Mapping[Demand, int]) -> list[tuple[Demand, int]]:
    """Return demands with their counts, the commonest first, whatever order they came in."""

    def order(item: tuple[Demand, int]) -> tuple[object, ...]:
        demand, count = item
        return -count, *_of_all_but_host(demand), demand.host or ""

    return sorted(counts.items(), key=order)


def _sizes(wanted: Mapping[int, int]) -> list[int]:
    """Return up to SIZES of the amounts in order: the commonest, and some that part the rest evenly."""
    if len(wanted) <= SIZES:
        return sorted(wanted)
    half = SIZES // 2
    common = set(sorted(wanted, key=lambda amount: (-wanted[amount], amount))[:half])
    rest = sorted(wanted.keys() - common)
    return sorted(common | {rest[len(rest) * part // half - 1] for part in range(1, half + 1)})


def _kind(demand: Demand, cpu: list[int], memory: list[int]) -> Demand:
    """Return what the measure sees of ``demand``, its amounts rounded up to those given."""
    if not demand.count:
        return Demand(count=0, compute=0, memory_mib=0)
    return Demand(
        count=demand.count,
        compute=demand.compute,
        memory_mib=memory[bisect_left(memory, demand.memory_mib)],
        required_traits=demand.required_traits,
        forbidden_traits=demand.forbidden_traits,
        products=demand.products,
        qos=demand.qos,
        cpu_milli=cpu[bisect_left(cpu, demand.cpu_milli)],
        sharing_mode=demand.sharing_mode,
    )
