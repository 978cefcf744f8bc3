"""Real parts for the conductor's tests; see lab and agents for what is simulated."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpupool.db.api import Database
from tests.functional.conductor.lab import Lab, new_conf
from tests.functional.placement.faults import FaultyPlacement


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


@pytest.fixture
def placement(tmp_path: Path) -> Iterator[FaultyPlacement]:
    """The real Placement service, in front of which a test may put faults."""
    service = FaultyPlacement(tmp_path / "placement")
    yield service
    service.close()


@pytest.fixture
def lab(database: Database, placement: FaultyPlacement) -> Iterator[Lab]:
    lab = Lab(new_conf(), database, placement.client())
    yield lab
    lab.close()


@pytest.fixture
def threads(database: Database, placement: FaultyPlacement) -> Iterator[Lab]:
    """As lab; the test starts and stops the conductor's own server and threads."""
    return Lab(new_conf(queue_interval=1), database, placement.client())
