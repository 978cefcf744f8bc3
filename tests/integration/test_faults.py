"""A short fault run; ``python -m tests.faults`` does long ones."""

import pytest

from testbed.rabbitmq import Missing
from tests.faults.run import Options, Run

# One of each way to break: a service, a line, a clock, a disk, a driver.
KINDS = (
    "kill conductor-1",
    "freeze mariadb",
    "cut Placement",
    "set clock of mariadb",
    "fill disk of host-a",
    "hang driver call",
)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("native")
def test_nothing_is_lost_whatever_breaks(tmp_path):
    options = Options(
        folder=tmp_path, seed=1, only=KINDS, each=True, clients=3, hosts=1, bound_seconds=180
    )
    try:
        result = Run(options).run()
    except Missing as exc:
        pytest.skip(str(exc))
    assert not result.broken, "\n".join(result.lines())
    assert result.faults >= len(KINDS) - 1
    assert result.looks > 0
