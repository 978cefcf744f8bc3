"""A clock follows its reference, but for steps that do not last."""

from datetime import datetime, timedelta

import pytest

from gpupool.model.clock import TOLERANCE, Clock

NOON = datetime(2026, 1, 1, 12)
SETTLE = 60
HOUR = timedelta(hours=1)


class Machine:
    """Its clocks, and a Clock that looks at them every five seconds."""

    def __init__(self):
        self.up = 1000.0
        self.ahead = timedelta()
        self.clock = Clock(SETTLE, monotonic=lambda: self.up, wall=self.wall)

    def wall(self):
        return NOON + timedelta(seconds=self.up - 1000) + self.ahead

    def wait(self, seconds):
        for _ in range(int(seconds // 5)):
            self.up += 5
            self.clock.observe(self.wall())


@pytest.fixture
def machine():
    made = Machine()
    made.clock.observe(made.wall())
    made.wait(SETTLE)
    return made


def test_a_clock_without_a_reference_is_the_machines():
    machine = Machine()
    assert machine.clock.now() == machine.wall()
    machine.ahead = HOUR
    assert machine.clock.now() == machine.wall()
    assert not machine.clock.steady


def test_it_is_steady_when_the_clocks_have_agreed_for_long():
    machine = Machine()
    machine.clock.observe(machine.wall())
    machine.wait(SETTLE - 5)
    assert not machine.clock.steady
    machine.ahead = HOUR
    machine.wait(SETTLE)
    # Nothing better was known than what the reference said last.
    assert machine.clock.now() == machine.wall()
    assert not machine.clock.steady
    machine.wait(5)
    assert machine.clock.steady
    assert machine.clock.steps == 0


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, timedelta(days=20000), timedelta(seconds=3)])
def test_a_step_counts_when_it_has_lasted(machine, ahead, caplog):
    before = machine.wall()
    machine.ahead = ahead
    machine.wait(SETTLE)
    assert machine.clock.now() == before + timedelta(seconds=SETTLE)
    machine.wait(5)
    assert machine.clock.now() == machine.wall()
    assert machine.clock.steps == 1
    assert len(caplog.records) == 2


def test_a_step_that_is_set_right_soon_changes_nothing(machine):
    machine.ahead = HOUR
    machine.wait(SETTLE - 5)
    machine.ahead = timedelta()
    machine.wait(2 * SETTLE)
    assert machine.clock.now() == machine.wall()
    assert machine.clock.steps == 0


def test_a_clock_that_does_not_come_to_rest_is_not_followed(machine):
    before = machine.wall()
    for hour in range(100):
        machine.ahead = hour * HOUR
        machine.wait(SETTLE / 2)
    assert machine.clock.now() == before + timedelta(seconds=100 * SETTLE / 2)


def test_what_ntp_corrects_bit_by_bit_is_followed(machine, caplog):
    for _ in range(10):
        machine.ahead += timedelta(seconds=TOLERANCE / 2)
        machine.wait(5)
        assert machine.clock.now() == machine.wall()
    assert not caplog.records


def test_a_moment_is_one_of_the_monotonic_clock(machine):
    soon = machine.clock.now() + HOUR
    assert machine.clock.at(soon) == machine.up + 3600
    assert machine.clock.moment(machine.clock.at(soon)) == soon
