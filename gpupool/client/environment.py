"""What the API says of a program's environment, checked: it comes from the host that serves the vGPU.

That host's word decides which library is loaded into the user's program, so a host that lies must not
choose it, nor any variable by which a shell or the dynamic linker would run something else.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from osc_lib.exceptions import CommandError

from gpupool.client.rest import Item

SOCKET, TICKET = "GPUPOOL_SOCKET", "GPUPOOL_TICKET"
# Variables that hold a search path: what the attachment needs goes in front of what is there.
PATHS = frozenset({"LD_LIBRARY_PATH"})
# Nothing else is ever set.
ALLOWED = frozenset({SOCKET, TICKET}) | PATHS
# Of several attachments, sockets and tickets stand in the same order; paths with colons can't.
_SEPARATOR = ":"


def checked(attachment: Item) -> dict[str, str]:
    """Return the variables that the attachment's program needs.

    Raises CommandError when its host is another machine, or names a folder of libraries that others
    than root and this user could have put there.
    """
    given: dict[str, str] = attachment["environment"]
    wanted = {name: given[name] for name in sorted(ALLOWED & given.keys())}
    host = attachment.get("host", attachment["host_id"])
    if not _is_socket(wanted.get(SOCKET)):
        raise CommandError(
            f"this machine is not host {host}: {wanted.get(SOCKET)} is not here; run the program there"
        )
    for name in PATHS & wanted.keys():
        # Resolved: on the way through a link somebody else could change where it leads.
        folder = Path(os.path.realpath(wanted[name]))
        if why := _distrusted(folder):
            raise CommandError(
                f"host {host} names {folder} as {name}, but {why}; allowed: folders that only root and "
                "you can write to"
            )
        wanted[name] = str(folder)
    return wanted


def beside(wanted: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that name the attachment of ``wanted`` and behind it those of ``own``.

    Those of ``own`` that are gone are left out; without any, nothing is returned. Raises CommandError
    when there are several and a socket's path has a colon.
    """
    kept = [pair for pair in _named(own) if _is_socket(pair[0])]
    if not kept:
        return {}
    pairs = [(wanted[SOCKET], wanted.get(TICKET, "")), *kept]
    for path, _ in pairs:
        if _SEPARATOR in path:
            raise CommandError(
                f"{path} has a colon: it can't be used beside another attachment's socket"
            )
    sockets, tickets = zip(*pairs, strict=True)
    return {SOCKET: _SEPARATOR.join(sockets), TICKET: _SEPARATOR.join(tickets)}


def _named(own: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the sockets and tickets that an environment names; nothing when it is not sound."""
    socket, ticket = own.get(SOCKET, ""), own.get(TICKET, "")
    if _SEPARATOR not in ticket:
        return [(socket, ticket)]
    sockets, tickets = socket.split(_SEPARATOR), ticket.split(_SEPARATOR)
    return list(zip(sockets, tickets, strict=True)) if len(sockets) == len(tickets) else []


def _is_socket(path: str | None) -> bool:
    try:
        return path is not None and stat.S_ISSOCK(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _distrusted(folder: Path) -> str:
    """Return why somebody else could have put a library into ``folder``; nothing when nobody could."""
    if ":" in str(folder):
        return "it has a colon"
    for path in (folder, *folder.parents):
        try:
            status = path.stat()
        except (OSError, ValueError):
            return f"{path} is not here"
        if not stat.S_ISDIR(status.st_mode):
            return f"{path} is no folder"
        if status.st_uid not in (0, os.geteuid()):
            return f"{path} is owned by user {status.st_uid}"
        if _is_open(status, itself=path == folder):
            return f"{path} can be written to by others"
    return ""


def _is_open(status: os.stat_result, *, itself: bool) -> bool:
    """Return whether others than its owner can replace what is in a folder.

    Where a folder is sticky, as /tmp, others can't replace what is not theirs, but can add.
    """
    if status.st_mode & stat.S_ISVTX and not itself:
        return False
    by_group = status.st_mode & stat.S_IWGRP and status.st_uid != 0 and status.st_gid != os.getegid()
    return bool(status.st_mode & stat.S_IWOTH or by_group)
