"""How long to wait after failures in a row.

tenacity repeats one function in one thread, which none of the callers does: a queue sends another
message meanwhile, a probe is hurried by failed work, a host's time is kept in the database.
"""


def after(first: float, most: float, failures: int) -> float:
    """Return ``first`` seconds, doubled ``failures`` times, at most ``most``."""
    # Bounded before it is a time: this may go on for years.
    return min(first * 2.0 ** min(failures, 30), most)
