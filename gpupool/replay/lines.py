"""Lines of files that replays read: plain or gzip, UTF-8 with or without a byte order mark."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from gpupool.model import errors

_GZIP = b"\x1f\x8b"
# How bytes that are no UTF-8 are decoded, so that the line with them can be named: surrogateescape.
_UNDECODABLE = range(0xDC80, 0xDD00)
# So many lines that were left out are named.
_NAMED = 3


class BadLines:
    """Lines that do not fit: the first ends the reading, or each is left out and counted.

    ``reasons`` are those of the first few lines that were left out.
    """

    def __init__(self, *, skip: bool = False) -> None:
        self._skip = skip
        self.count = 0
        self.reasons: list[str] = []

    @contextmanager
    def skipped(self) -> Iterator[None]:
        """Leave out the line that the block reads, if it does not fit and that is wanted.

        Raises Invalid otherwise.
        """
        try:
            yield
        except errors.Invalid as exc:
            if not self._skip:
                raise
            self.count += 1
            if len(self.reasons) < _NAMED:
                self.reasons.append(str(exc))


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """Open a text file, which may be a pipe, and may be gzip whatever its name is.

    Raises Invalid when it can't be read, also while its lines are.
    """
    try:
        with path.open("rb") as file:
            content: IO[bytes] = file
            if file.peek(len(_GZIP)).startswith(_GZIP):
                content = cast("IO[bytes]", gzip.GzipFile(fileobj=file))
            with io.TextIOWrapper(content, "utf-8-sig", "surrogateescape", newline="") as text:
                yield text
    except (OSError, EOFError, zlib.error) as exc:
        raise errors.Invalid(f"{path} can't be read: {getattr(exc, 'strerror', None) or exc}") from exc


def check_text(where: str, line: str) -> None:
    """Raise Invalid for a line with bytes that are no UTF-8."""
    at = next((at for at, each in enumerate(line, start=1) if ord(each) in _UNDECODABLE), None)
    if at is not None:
        raise errors.Invalid(f"{where}: character {at} is no UTF-8")
