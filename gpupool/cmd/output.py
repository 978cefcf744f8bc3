"""What commands print: for as long as somebody reads it, and why they failed."""

import os
import sys


def discard() -> None:
    """Discard all that is printed from now on: the reader has seen enough.

    Python writes what it still holds when it ends, and would complain that nobody takes it.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reason(exc: BaseException) -> str:
    """Return on one line what an exception and its cause say; users of the API get only the former."""
    texts = [str(each).partition("\n[SQL: ")[0] for each in (exc, exc.__cause__) if each is not None]
    said = [" ".join(text.split()) for text in texts]
    return ": ".join(text for text in said if text) or type(exc).__name__
