"""Files that are there whole or not at all."""

from contextlib import suppress
from pathlib import Path


def write(path: Path, content: bytes, partial: Path) -> None:
    """Write ``content``, readable by the owner only; a reader sees the old file or the new one.

    ``partial``, on the same file system, is written first. When that fails (a full disk, say) nothing
    is left of it, the old file stays, and the OSError is raised.
    """
    try:
        partial.touch(mode=0o600)
        partial.write_bytes(content)
        partial.replace(path)
    except BaseException:
        # On a full disk it would keep what others need.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
