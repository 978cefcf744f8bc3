import pytest

from gpupool.placement.embedded import EmbeddedPlacement
from tests.functional.api import service as services


@pytest.fixture(scope="session")
def placement(tmp_path_factory):
    with EmbeddedPlacement(tmp_path_factory.mktemp("placement")) as embedded:
        yield embedded.client()


@pytest.fixture
def service(tmp_path, placement):
    """A service of the test's own."""
    with services.running(tmp_path, placement) as started:
        yield started


@pytest.fixture(scope="module")
def shared(tmp_path_factory, placement):
    """One service for a whole module, which must not use ``service`` too: they share messages."""
    with services.running(tmp_path_factory.mktemp("service"), placement) as started:
        yield started
