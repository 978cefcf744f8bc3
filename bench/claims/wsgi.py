"""A WSGI server of several processes, each with a few threads; writes one line per request to a file.

``python -m bench.claims.wsgi '{"application": "placement" | "api", "config": FILE, "port": N,
"processes": N, "threads": N, "log": FILE}'``. A process that is busy takes no connection that an idle
one could take: they share one socket, and a connection carries one request.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# Before oslo.messaging loads oslo.service, which would choose eventlet.
from oslo_service import backend

backend.init_backend(backend.BackendType.THREADING)

from cheroot import wsgi  # noqa: E402

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# Where cheroot, as systemd's protocol has it, finds a socket that was made for it.
_SOCKET_FD = 3


def placement(config: str) -> Application:
    """Return the Placement service of ``config``, a file named placement.conf; writes its traits."""
    os.environ["OS_PLACEMENT_CONFIG_DIR"] = str(Path(config).parent)
    from placement.wsgi import init_application  # noqa: PLC0415 - reads the environment

    made: Application = init_application()
    return made


def api(config: str) -> Application:
    """Return gpupool's REST API of ``config``."""
    from gpupool import conf as gpupool_conf  # noqa: PLC0415 - Placement's processes need none of it
    from gpupool.api import app  # noqa: PLC0415
    from gpupool.conf import logs  # noqa: PLC0415
    from gpupool.db.api import Database  # noqa: PLC0415
    from gpupool.rpc import transport  # noqa: PLC0415
    from gpupool.rpc.conductor import ConductorClient  # noqa: PLC0415

    conf = gpupool_conf.new(files=[config])
    logs.setup(conf, "gpupool-api")
    conductor = ConductorClient(transport.get_transport(conf))
    made: Application = app.make_app(conf, Database.from_conf(conf), conductor)
    return made


APPLICATIONS = {"placement": placement, "api": api}


def logged(application: Application, path: str) -> Application:
    """Return ``application``, which writes when, what, the status and how many ms of every request."""
    file = Path(path).open("a", buffering=1)  # noqa: SIM115 - open as long as the process lives

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        begun = time.time()
        status = ""

        def start(line: str, *rest: Any) -> Any:
            nonlocal status
            status = line.split(maxsplit=1)[0]
            return start_response(line, *rest)

        body = list(application(environ, start))
        spent = (time.time() - begun) * 1000
        what = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        file.write(f"{begun:.6f} {what} {status} {spent:.2f}\n")
        return body

    return call


def _serve(application: Application, port: int, threads: int) -> None:
    """Answer requests until SIGTERM."""
    os.environ["LISTEN_PID"] = str(os.getpid())
    server = wsgi.Server(("127.0.0.1", port), application, numthreads=threads, max=threads)
    server.keep_alive_conn_limit = 0
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server.safe_start()


def main() -> None:
    """Serve what the argument says, until SIGTERM or the end of whoever started this."""
    options = json.loads(sys.argv[1])
    listener = socket.create_server(("127.0.0.1", options["port"]), backlog=256)
    os.dup2(listener.fileno(), _SOCKET_FD)
    make = APPLICATIONS[options["application"]]
    if options["application"] == "placement" and os.fork() == 0:
        # Once, and not by all at once: what Placement writes into an empty database.
        make(options["config"])
        os._exit(0)
    elif options["application"] == "placement":
        os.wait()
    for _ in range(options["processes"]):
        if os.fork() == 0:
            application = logged(make(options["config"]), options["log"])
            _serve(application, options["port"], options["threads"])
            os._exit(0)
    sys.stdin.read()
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    main()
