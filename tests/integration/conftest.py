"""Real services for the tests of this folder; each test is skipped, saying so, where one is missing."""

from collections.abc import Iterator

import pytest

from tests.integration import rabbitmq


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the transport URL of a RabbitMQ node of our own."""
    try:
        node = rabbitmq.RabbitMq(tmp_path_factory.mktemp("rabbitmq"))
    except rabbitmq.Missing as exc:
        pytest.skip(str(exc))
    yield node.url
    node.close()
