"""What commands print, for as long as somebody reads it."""

import os
import sys


def discard() -> None:
    """Have all that is printed from now on go nowhere: who read it has seen enough.

    Python writes what it still holds when it ends, and would complain that nobody takes it.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
