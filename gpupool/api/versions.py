"""Which versions of the API there are, as keystoneauth1's discovery reads it."""

from gpupool.api import microversion
from gpupool.api.controller import Json, Services, prefix
from gpupool.api.request import Request


class Versions:
    """``/`` and ``/v1``."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def get_all(self, request: Request) -> Json:
        """Return every version."""
        return {"versions": [self._v1(request)]}

    def get_one(self, request: Request) -> Json:
        """Return version 1."""
        return {"version": self._v1(request)}

    def _v1(self, request: Request) -> Json:
        return {
            "id": "v1.0",
            "status": "CURRENT",
            "min_version": microversion.MIN_VERSION,
            "max_version": microversion.MAX_VERSION,
            "links": [{"rel": "self", "href": f"{prefix(self._services, request)}/v1/"}],
        }
