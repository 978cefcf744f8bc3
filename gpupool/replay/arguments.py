"""Types of arguments: what they may be is said when they are something else."""

import argparse
import math
import re

from gpupool.model.pool import PolicyName

SEEDS_MAX = 1000
HOUR = 3600


def seeds(text: str) -> list[int]:
    """Return the seeds of a list such as 1-10 or 1,4."""
    found: list[int] = []
    for part in text.split(","):
        matched = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        first, last = (
            (int(each) for each in (matched[1], matched[2] or matched[1])) if matched else (1, 0)
        )
        if first > last or last - first >= SEEDS_MAX:
            raise argparse.ArgumentTypeError(
                f"{text!r} are no seeds; allowed: such as 3 or 1-10 or 1,4, at most {SEEDS_MAX} of them"
            )
        found += range(first, last + 1)
    return found


def policy(text: str) -> PolicyName:
    """Return the policy of a name."""
    try:
        return PolicyName(text)
    except ValueError as exc:
        allowed = ", ".join(PolicyName)
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: {allowed}") from exc


def time_limits(text: str) -> float | None:
    """Return by how much the run times told are too long; None where the queue is told none."""
    if text in ("none", "exact"):
        return None if text == "none" else 1.0
    return _number(text, "exact, none, or by how much they are too long, 1 or more", 1)


def count(text: str) -> int:
    """Return a number of things."""
    if not text.isdecimal() or not 1 <= int(text[:10]) < 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of things; allowed: 1 to 999999")
    return int(text)


def amount(text: str) -> float:
    """Return a number of which a thousandth counts."""
    return _stepped(text, 0, 10**6, 1000)


def ratio(text: str) -> float:
    """Return a ratio in steps of a hundredth."""
    return _stepped(text, 1, 100, 100)


def _stepped(text: str, least: float, most: float, per_unit: int) -> float:
    """Return a number that ``per_unit`` times is a whole one: between those nothing would change."""
    allowed = f"{least} to {most}, in steps of {1 / per_unit}"
    value = _number(text, allowed, least, most)
    if not math.isclose(value * per_unit, round(value * per_unit)):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: {allowed}")
    return value


def hours(text: str) -> float:
    """Return seconds: no more than a recording may say."""
    return HOUR * _number(text, "0.001 to 1000000", 0.001, 10**6)


def positive(text: str) -> float:
    """Return a number above 0."""
    return _number(text, "more than 0", 1e-9)


def _number(text: str, allowed: str, least: float, most: float = 1e9) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: {allowed}")
    return value
