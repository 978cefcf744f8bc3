"""Which request a thread works for: what oslo.log writes before each line.

oslo.context keeps the last context that was made in a thread, for good. Here one is shown for exactly
as long as its request is worked on; background work has none.
"""

from typing import Any

from oslo_context import context
from oslo_context.context import RequestContext


class Detached(RequestContext):
    """A context for messages that are sent on nobody's request: the thread's own stays what it is."""

    def update_store(self) -> None:
        """Do not become the thread's context."""


def detached(**fields: Any) -> RequestContext:
    """Return a context for a message of background work."""
    return Detached(**fields)


def clear() -> None:
    """Forget the thread's context: its request is done."""
    # There is no public way; oslo.context's own fixture does the same.
    context._request_store.__dict__.pop("context", None)
