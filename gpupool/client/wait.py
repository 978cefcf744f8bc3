"""Waiting for a claim or an attachment to reach a state; for a claim, with progress on stderr."""

import sys
import time
from collections.abc import Collection
from typing import TextIO

from osc_lib.exceptions import CommandError

from gpupool.client.rest import Client, Item

# Seconds between two looks: short at first, for a claim usually binds at once, then easy on the API.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
# Seconds a host may take to make an attachment; it needs a fraction of one.
READY_TIMEOUT = 30.0


class Progress:
    """One line that is rewritten on a terminal; elsewhere, a line per change."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._rewrite = self._stream.isatty()
        self._last = ""

    def show(self, text: str) -> None:
        """Show ``text`` unless it is what is shown already."""
        if text == self._last:
            return
        if self._rewrite:
            self._stream.write(f"\r{text}\x1b[K")
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()
        self._last = text

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_exc: object) -> None:
        """Leave the line that is rewritten."""
        if self._rewrite and self._last:
            self._stream.write("\n")
            self._stream.flush()


def for_claim(
    client: Client, claim: Item, wanted: str, passing: Collection[str], timeout: float | None
) -> Item:
    """Return the claim once its state is ``wanted``; no ``timeout`` (seconds): wait for ever.

    Raises CommandError when the time is over, or when its state is none of ``passing``, those that
    lead to ``wanted``.
    """
    end = None if timeout is None else time.monotonic() + timeout
    pause = FIRST_PAUSE
    with Progress() as progress:
        while True:
            said = describe(claim)
            progress.show(said)
            if claim["state"] == wanted:
                return claim
            if claim["state"] not in passing:
                raise CommandError(f"{said}; it cannot become {wanted} any more")
            if end is not None and time.monotonic() >= end:
                raise CommandError(f"{said}, not {wanted} after {timeout:g} s; it stays as it is")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            claim = client.get("claims", claim["id"])


def for_attachment(client: Client, attachment: Item, timeout: float) -> Item:
    """Return the attachment once it is ready.

    Raises CommandError when its host refuses it or ``timeout`` seconds are over.
    """
    end = time.monotonic() + timeout
    while attachment["state"] == "pending":
        if time.monotonic() >= end:
            raise CommandError(
                f"attachment {attachment['id']} is not ready after {timeout:g} s; is its host up?"
            )
        time.sleep(FIRST_PAUSE)
        attachment = client.get("attachments", attachment["id"])
    if attachment["state"] != "ready":
        reason = attachment.get("state_reason") or "no reason given"
        raise CommandError(f"attachment {attachment['id']} is {attachment['state']}: {reason}")
    return attachment


def describe(claim: Item) -> str:
    """Return the claim's state and its reason, in one line."""
    reason = f" ({claim['state_reason']})" if claim.get("state_reason") else ""
    return f"claim {claim['id']} is {claim['state']}{reason}"
