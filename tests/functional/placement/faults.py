"""FAULT INJECTION: a server that puts failures in front of the real Placement application."""

import threading

from cheroot import wsgi
from keystoneauth1 import adapter, session, token_endpoint

from gpupool.placement.client import MICROVERSION, TOKEN, PlacementClient
from gpupool.placement.embedded import PlacementApplication


class FaultyPlacement:
    """Answers as ``fault`` does while that is set, else as Placement.

    ``after``: the request reaches Placement first, and only its answer is lost.
    """

    def __init__(self, state_dir):
        self.real = PlacementApplication(state_dir)
        self.fault = None
        self.after = False
        self.requests = []
        self._server = wsgi.Server(("127.0.0.1", 0), self._answer, numthreads=2)
        self._server.shutdown_timeout = 1
        self._server.prepare()
        self._thread = threading.Thread(target=self._server.serve)
        self._thread.start()

    def _answer(self, environ, start_response):
        self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        if self.fault is None:
            return self.real(environ, start_response)
        if self.after:
            list(self.real(environ, lambda *_: None))
        return self.fault(environ, start_response)

    def client(self, timeout=30):
        return client_of(f"http://127.0.0.1:{self._server.bind_addr[1]}", timeout)

    def close(self):
        self._server.stop()
        self._thread.join()
        self.real.close()


def answering(status, body=b"", content_type="application/json"):
    """Return a fault: always this answer."""

    def fault(environ, start_response):
        start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [body]

    return fault


def client_of(url, timeout):
    """Return a client of the service at ``url`` that waits ``timeout`` seconds."""
    credentials = token_endpoint.Token(url, TOKEN)
    return PlacementClient(
        adapter.Adapter(
            session.Session(auth=credentials, timeout=timeout),
            service_type="placement",
            default_microversion=MICROVERSION,
            connect_retries=1,
        )
    )
