"""What a supervised process writes on standard error: mostly why it could not start."""

import os
from contextlib import suppress

MOST_BYTES = 4096
MOST_LINES = 8
LINE_LENGTH = 300


class ProcessLog:
    """A pipe to one process, read once, when that has ended.

    The kernel bounds what it holds, a process that writes more is not kept waiting, and nothing of it
    gets into the agent's log unescaped: a library may write what it was told by others.
    """

    def __init__(self) -> None:
        """Raise OSError when there are too many open files."""
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def close_write_end(self) -> None:
        """Close this process's own end to write; the worker has its copy."""
        os.close(self.write_end)

    def take(self) -> list[str]:
        """Return the first lines, cut and escaped, and close the pipe."""
        found = b""
        with suppress(BlockingIOError):
            found = os.read(self._read_end, MOST_BYTES)
        os.close(self._read_end)
        lines = found.decode(errors="replace").split("\n")
        return [_escaped(line) for line in lines if line.strip()][:MOST_LINES]


def _escaped(line: str) -> str:
    return line[:LINE_LENGTH].encode("unicode_escape").decode()
