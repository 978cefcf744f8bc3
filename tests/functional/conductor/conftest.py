"""Real services for the conductor's tests; see lab and agents for what is simulated."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gpupool.db.api import Database
from gpupool.placement import names
from tests.functional.conductor.lab import Lab, new_conf
from tests.functional.placement.faults import FaultyPlacement, answering


class Placement(FaultyPlacement):
    def empty(self) -> None:
        """Delete every provider of ours, and what is allocated there."""
        client = self.client()
        for provider in client.providers_with([names.MARK]):
            for consumer in client.provider_allocations(provider.id):
                client.delete_allocation(consumer)
            client.delete_provider(provider.id)

    @property
    def url(self) -> str:
        host, port = self._server.bind_addr
        return f"http://{host}:{port}"

    def go(self, status: str) -> None:
        """Answer nothing but ``status`` from now on."""
        self.fault = answering(status)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Answer nothing until the end of the block."""
        over = threading.Event()

        def hang(environ: Any, start_response: Any) -> list[bytes]:
            over.wait()
            start_response("500 Internal Server Error", [("Content-Length", "0")])
            return [b""]

        self.fault = hang
        try:
            yield
        finally:
            over.set()
            self.come_back()

    def come_back(self) -> None:
        self.fault = None
        self.after = False


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty database file of the present schema."""
    path = tmp_path_factory.mktemp("template") / "gpupool.sqlite"
    database = Database.from_url(f"sqlite:///{path}")
    database.upgrade()
    database.close()
    return path


@pytest.fixture
def database(template: Path, tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "gpupool.sqlite"
    shutil.copy(template, path)
    database = Database.from_url(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture(scope="session")
def placement_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Placement]:
    service = Placement(tmp_path_factory.mktemp("placement"))
    yield service
    service.close()


@pytest.fixture
def placement(placement_of_all: Placement) -> Iterator[Placement]:
    """The real Placement service, empty, in front of which a test may put faults."""
    yield placement_of_all
    placement_of_all.come_back()
    placement_of_all.empty()


@pytest.fixture
def lab(database: Database, placement: Placement) -> Iterator[Lab]:
    lab = Lab(new_conf(), database, placement.client())
    yield lab
    lab.close()
