import pytest

from gpupool.placement.embedded import EmbeddedPlacement
from tests.functional.api import service as services


@pytest.fixture(scope="session")
def placement(tmp_path_factory):
    with EmbeddedPlacement(tmp_path_factory.mktemp("placement")) as embedded:
        yield embedded.client()


@pytest.fixture
def service(tmp_path, placement):
    with services.running(tmp_path, placement) as started:
        yield started
