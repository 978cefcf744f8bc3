"""The real Placement service (openstack-placement) inside this process, on SQLite, for standalone.

Placement keeps its database, its policy and its start-up flags in module globals. Here every request
runs under one lock with the database of its own instance patched in, so that a process may have
several instances, and one after the other.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from cheroot import wsgi
from oslo_config import cfg
from oslo_db.sqlalchemy import enginefacade
from placement import conf as placement_conf
from placement import db_api, deploy
from placement.objects import resource_class, trait

from gpupool.placement.client import TOKEN, PlacementClient, by_token

# A claim of 1,024 vGPUs takes Placement half a minute.
_TIMEOUT = 180
_LOCK = threading.RLock()

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class PlacementApplication:
    """Placement as a WSGI application; whoever reaches it with ``TOKEN`` is administrator.

    ``state_dir`` holds its database and is made where it is missing; the schema is brought up to
    date at start. The alembic library is not thread-safe: run no other migration meanwhile.
    """

    def __init__(self, state_dir: Path) -> None:
        state_dir.mkdir(parents=True, exist_ok=True)
        conf = _conf(state_dir)
        self._database = enginefacade.transaction_context()
        self._database.configure(connection=conf.placement_database.connection)
        # What Placement refuses its caller hears; it need not be in the log as well.
        logging.getLogger("placement").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with _Patched(self._database):
            # They say "done in this process", but we need it done in this database.
            trait._TRAITS_SYNCED = resource_class._RESOURCE_CLASSES_SYNCED = False
            self._application = deploy.loadapp(conf)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request; the answer is complete when this returns."""
        with _Patched(self._database):
            return list(self._application(environ, start_response))

    def close(self) -> None:
        """Close the database."""
        self._database.writer.get_engine().dispose()


class EmbeddedPlacement:
    """Serves a PlacementApplication on 127.0.0.1 from the moment it is made until ``close``.

    ``port`` 0 takes a free one. One thread answers, so that SQLite never is asked twice at once.
    """

    def __init__(self, state_dir: Path, port: int = 0) -> None:
        self._application = PlacementApplication(state_dir)
        self._server = wsgi.Server(("127.0.0.1", port), self._application, numthreads=1, max=1)
        try:
            self._server.prepare()
        except OSError:
            self._application.close()
            raise
        self.url = f"http://127.0.0.1:{self._server.bind_addr[1]}"
        self._thread = threading.Thread(target=self._server.serve, name="placement", daemon=True)
        self._thread.start()

    def client(self) -> PlacementClient:
        """Return a client of this service."""
        return by_token(self.url, TOKEN, _TIMEOUT)

    def close(self) -> None:
        """Stop serving, free the port, close the database; closing twice is the same."""
        self._server.stop()
        self._thread.join()
        self._application.close()

    def __enter__(self) -> "EmbeddedPlacement":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Patched:
    """Makes ``database`` Placement's own for the time of a block, which nobody else enters."""

    def __init__(self, database: Any) -> None:
        self._database = database

    def __enter__(self) -> None:
        _LOCK.acquire()
        self._reset = db_api.placement_context_manager.patch_factory(self._database)

    def __exit__(self, *_: object) -> None:
        self._reset()
        _LOCK.release()


def _conf(state_dir: Path) -> cfg.ConfigOpts:
    """Return Placement's configuration, with nothing from this machine's own Placement."""
    conf = cfg.ConfigOpts()
    placement_conf.register_opts(conf)
    database = state_dir.absolute() / "placement.sqlite"
    conf.set_override("connection", f"sqlite:///{database}", group="placement_database")
    conf([], project="placement", default_config_files=[], default_config_dirs=[])
    conf.set_override("sync_on_startup", True, group="placement_database")
    conf.set_override("auth_strategy", "noauth2", group="api")
    # A path that does not exist: the rules of the code hold.
    conf.set_override("policy_file", str(state_dir.absolute() / "no-policy"), group="oslo_policy")
    return conf
