"""The errors that cross every boundary: raised anywhere, carried by RPC as themselves, shown by the API.

Each has one argument, its message, so that oslo.messaging can rebuild it on the far side.
"""


class GpupoolError(Exception):
    """Base of all errors a caller may meet. ``status`` is the HTTP status the API answers with.

    ``code`` names the error to programs; where it is empty, the status does.
    """

    status = 500
    code = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(GpupoolError):
    """The request names something that is not allowed; nothing was changed."""

    status = 400


class Forbidden(GpupoolError):
    """The caller may not do this; nothing was changed."""

    status = 403


class OverQuota(Forbidden):
    """The project may not hold so much more; nothing was changed. The message has the figures."""

    code = "over_quota"


class NotFound(GpupoolError):
    """The named thing does not exist, or is not the caller's."""

    status = 404


class Conflict(GpupoolError):
    """The thing is in a state in which this can't be done, or somebody else was faster."""

    status = 409


class Failed(GpupoolError):
    """Another service met a bug of its own; its log says more."""


class Unavailable(GpupoolError):
    """A service that is needed did not answer; the same request may succeed later.

    ``service`` names it to the process that met this: "database", "Placement", "messages", else "".
    It does not cross the wire.
    """

    status = 503

    def __init__(self, message: str, service: str = "") -> None:
        super().__init__(message)
        self.service = service
