"""The installation guide as what it says to type, in the order of the page."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "doc/source/install/index.rst"
_BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n\n((?:   .*\n|\n)+)", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """Commands for a shell; ``expected`` is what they print, or None where the page does not say.

    ``...`` stands there for any text, also of several lines.
    """

    section: str
    text: str
    expected: str | None = None

    def agrees(self, status: int, printed: str) -> bool:
        """Return whether a status and what was printed are what the page says.

        A command whose output it tells may say by its status that something is to be done yet.
        """
        if not self.expected and status:
            return False
        if self.expected is None:
            return True
        parts = self.expected.strip().split("...")
        pattern = ".*".join(re.escape(part) for part in parts)
        return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def steps() -> list[Step]:
    """Return a step for each block of commands, and one for each command whose output is told."""
    page, found = PAGE.read_text(), []
    for block in _BLOCK.finditer(page):
        section = re.findall(r"^(.+)\n[=-]{3,}$", page[: block.start()], re.MULTILINE)[-1]
        text = textwrap.dedent(block[2])
        if block[1] == "sh":
            found.append(Step(section, text))
        elif block[1] == "console":
            found += [Step(section, *told) for told in _told(text)]
    return found


def _told(text: str) -> list[tuple[str, str]]:
    """Return commands, each with what it prints."""
    found = []
    for part in re.split(r"^# ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        more = next(
            (at for at, line in enumerate(lines) if at and not line.startswith("> ")), len(lines)
        )
        command = [lines[0], *(line.removeprefix("> ") for line in lines[1:more])]
        found.append(("\n".join(command) + "\n", "\n".join(lines[more:])))
    return found
