"""The mix: what claims of late have asked for, which is what free shares are worth something for."""

from collections import Counter, deque
from collections.abc import Iterable

from gpupool.allocator.demand import Demand

# As the authors of the measure do, rare demands are left out: the commonest that make up so much.
COVERED = 0.95
WINDOW = 1000
# More kinds than this make every decision slower and none better.
KINDS = 256


class Mix:
    """The last ``window`` demands, and how common each kind is among them.

    ``weights`` is made anew when the mix has changed by a twentieth of the window, so that it depends
    on nothing but the order of the demands.
    """

    def __init__(self, demands: Iterable[Demand] = (), window: int = WINDOW) -> None:
        self._recent: deque[Demand] = deque()
        self._counts: Counter[Demand] = Counter()
        self._window = window
        self._step = max(window // 20, 1)
        self._since = 0
        self._weights: tuple[tuple[Demand, float], ...] = ()
        for demand in demands:
            self._push(demand)
        self._weigh()

    def add(self, demand: Demand) -> None:
        """Add the demand of a claim that has just come."""
        self._push(demand)
        self._since += 1
        # The first few are all there is to go by.
        if self._since >= self._step or len(self._recent) <= self._step:
            self._weigh()

    @property
    def weights(self) -> tuple[tuple[Demand, float], ...]:
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

    def _weigh(self) -> None:
        self._since = 0
        enough = COVERED * len(self._recent)
        # Equally common ones in one order, whatever order they came in.
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1], repr(item[0])))
        weights, covered = [], 0
        for demand, count in ordered[:KINDS]:
            if covered >= enough:
                break
            weights.append((demand, float(count)))
            covered += count
        self._weights = tuple((demand, count / covered) for demand, count in weights)
