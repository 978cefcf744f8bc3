"""Why a claim is in its state, in the words of the two who read it: its project and the operators."""

from dataclasses import dataclass
from datetime import datetime, timedelta

# Characters of a detail that are kept.
DETAIL_MAX = 1000
_AGAIN = "it waits again because "
_MINUTE = timedelta(minutes=1)
_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


@dataclass(frozen=True, order=True)
class Reason:
    """Why a claim is where it is.

    ``text`` is for the claim's project: what was wanted and what there is. It names no host that the
    claim was not on and nothing of other projects. ``detail`` is for operators only: names of hosts
    and claims, and what other services said.
    """

    text: str = ""
    detail: str = ""

    def fields(self) -> dict[str, str]:
        """Return the fields of a claim that hold it."""
        return {"state_reason": self.text, "state_detail": self.detail[:DETAIL_MAX]}

    def __bool__(self) -> bool:
        """Return whether anything is said."""
        return bool(self.text or self.detail)

    def again(self) -> "Reason":
        """Return the reason of a claim that is queued again, for this reason."""
        text = _AGAIN + self.text if self.text else ""
        return Reason(text, _AGAIN + self.detail if self.detail else "")

    def why_again(self) -> "Reason":
        """Return what of this reason was made by ``again``, if anything was."""
        return Reason(_why_again(self.text), _why_again(self.detail))

    def and_(self, other: "Reason") -> "Reason":
        """Return both, this one first."""
        return Reason(_joined(self.text, other.text), _joined(self.detail, other.detail))


def moment(when: datetime) -> str:
    """Return a moment (UTC without a zone) to the minute, not before it, as 2030-01-31 14:20 UTC."""
    if when < datetime.max - _MINUTE:
        when += _MINUTE - timedelta(microseconds=1)
    return f"{when:%Y-%m-%d %H:%M} UTC"


def span(seconds: int) -> str:
    """Return a time span in the largest unit of which it is a whole number, as 90 min."""
    for unit, size in _UNITS:
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _why_again(said: str) -> str:
    # The last mark: what stands before may quote the name of a claim, which may have the mark's words.
    _, mark, why = said.rpartition(_AGAIN)
    return mark + why if mark else ""


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


NONE = Reason()
