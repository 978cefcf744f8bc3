"""A gang of 16 whole devices under a stream of small claims, through the live service."""

from gpupool.model.states import ClaimState

DEVICES = 16
# A small claim is released so many steps after it was bound.
STAY = 4


class Stream:
    """Small claims, as many a step as keep the host full, each of which leaves after ``STAY`` steps."""

    def __init__(self, lab, agent):
        self._lab, self._agent = lab, agent
        self._claims = []
        self._bound_at = {}
        self._step = 0

    def step(self):
        """Make claims, let what can bind do so, release those whose stay is over."""
        self._step += 1
        self._claims += [self._lab.create(compute=100, memory_mib=64) for _ in range(DEVICES // STAY)]
        self._lab.look(self._agent)
        self._lab.look(self._agent)
        for claim in self._claims:
            if self._lab.claim(claim).state == ClaimState.BOUND:
                self._bound_at.setdefault(claim.id, self._step)
        for claim in [one for one in self._claims if self._is_over(one)]:
            self._lab.release(claim)
            self._claims.remove(claim)

    def _is_over(self, claim):
        return self._bound_at.get(claim.id, self._step) + STAY <= self._step


def started(lab, steps):
    """Return whether a gang that comes to a full host starts within so many steps."""
    agent = lab.agent(devices=DEVICES)
    stream = Stream(lab, agent)
    for _ in range(STAY):
        stream.step()
    gang = lab.create(count=DEVICES, compute=100, memory_mib=64)
    for _ in range(steps):
        stream.step()
        if lab.claim(gang).state in {ClaimState.BINDING, ClaimState.BOUND}:
            lab.check_books([agent])
            return True
    return False


def test_a_gang_starts_as_soon_as_those_that_ran_before_it_have_left(lab):
    # What started before room was kept stays STAY steps; leaving takes the next one.
    assert started(lab, STAY + 2)


def test_without_reservations_it_would_starve(lab):
    lab.conf.set_override("reservations", 0, group="queue")
    assert not started(lab, 3 * STAY)
