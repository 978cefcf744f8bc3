"""Real services for the tests of this folder; each test is skipped, saying so, where one is missing."""

from collections.abc import Iterator

import pytest

from testbed import rabbitmq
from tests.integration import identity


@pytest.fixture(scope="session")
def rabbit_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rabbitmq.RabbitMq]:
    """Return a RabbitMQ node of our own."""
    try:
        node = rabbitmq.RabbitMq(tmp_path_factory.mktemp("rabbitmq"))
    except rabbitmq.Missing as exc:
        pytest.skip(str(exc))
    yield node
    node.close()


@pytest.fixture(scope="session")
def rabbit(rabbit_node: rabbitmq.RabbitMq) -> str:
    """Return the transport URL of a RabbitMQ node of our own."""
    return rabbit_node.url


@pytest.fixture(scope="session")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[identity.Keystone]:
    """A Keystone of our own, with users of two projects; for tests of the xdist group ``keystone``."""
    try:
        made = identity.Keystone(tmp_path_factory.mktemp("keystone"))
    except identity.Missing as exc:
        pytest.skip(str(exc))
    made.add_user("gpupool", "service", "service")
    made.add_user("berta", "blue", "member")
    made.add_user("rita", "blue", "reader")
    made.add_user("greta", "green", "member")
    yield made
    made.close()
