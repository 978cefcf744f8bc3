"""Small JSON files that are there whole or not at all."""

import json
import logging
import os
from pathlib import Path
from typing import Any, TypeVar

from gpupool.model import errors, whole_file, wire

LOG = logging.getLogger(__name__)
T = TypeVar("T")


def write_json(path: Path, content: Any, *, durable: bool = True) -> None:
    """Write ``content`` as JSON; see whole_file.write."""
    text = json.dumps(content, indent=1, sort_keys=True)
    whole_file.write(path, text.encode(), durable=durable)


def remove(path: Path) -> None:
    """Remove the file, if it is there, and what an agent that was killed did not finish of it."""
    path.unlink(missing_ok=True)
    whole_file.partial_of(path).unlink(missing_ok=True)


def write(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write ``value``, a dataclass; see whole_file.write."""
    write_json(path, wire.dump(value), durable=durable)


def read(path: Path, cls: type[T]) -> T | None:
    """Return the ``cls`` at ``path``; None when there is none or, with a warning, none that is whole."""
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
        return wire.load(cls, content)
    except FileNotFoundError:
        return None
    except (errors.Invalid, ValueError) as exc:
        LOG.warning("%s can't be read: %s", path, exc)
        return None


def names(folder: Path) -> list[str]:
    """Return what lies in ``folder``, without files that were not finished."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def remove_unfinished(folder: Path) -> None:
    """Remove the files that ``names`` leaves out; nobody may be making one."""
    for path in folder.glob(".*"):
        path.unlink()


class Listing:
    """The names in a folder; while it can't be read (too many open files, say), those it had."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: list[str] | None = None
        self._readable = True

    def names(self) -> list[str]:
        """Return the names. Raises OSError when the folder could not be read even once."""
        try:
            self._last = names(self._folder)
            self._readable = True
        except OSError as exc:
            if self._last is None:
                raise
            if self._readable:
                LOG.error("%s can't be read: %s", self._folder, exc)
            self._readable = False
        return self._last

    def has(self, name: str) -> bool:
        """Tell whether the name is there: one look, however many there are. Raises as ``names``."""
        try:
            os.lstat(self._folder / name)
        except FileNotFoundError:
            return False
        except OSError:
            return name in self.names()
        return True

    def forget(self, name: str) -> None:
        """Drop a name whose file was removed, for the time the folder can't be read."""
        if self._last is not None:
            self._last = [one for one in self._last if one != name]
