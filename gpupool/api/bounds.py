"""What a request may cost at most: counted and measured before any of it is evaluated.

The checks here take time in proportion to the size of the request, whatever is in it.
"""

import re
from collections.abc import Mapping
from typing import Any

from gpupool.model import errors

# Bytes of the path and the query string. A hundred values of every filter fit.
ADDRESS_MAX = 32 * 1024
# Characters of one part of the path: no name is longer.
NAME_MAX = 255
# Parameters of one query string.
QUERY_ITEMS_MAX = 256
# Objects and lists within each other, and values in all of them. The largest claim names 1024 devices
# and 128 traits, three levels deep.
NESTING_MAX = 8
VALUES_MAX = 2048
_STRUCTURE = re.compile(r'\\.|["\[\]{},]', re.DOTALL)


def address_fits(environ: Mapping[str, Any]) -> bool:
    """Return whether path and query string of a WSGI environment are within ADDRESS_MAX."""
    return len(environ.get("PATH_INFO", "")) + len(environ.get("QUERY_STRING", "")) <= ADDRESS_MAX


def check_json(text: str) -> None:
    """Raise Invalid unless nesting and number of values of a JSON text are within the limits.

    The text need not be JSON; it is not parsed, so that no parser meets what is nested too deeply.
    """
    depth, values, quoted = 0, 1, False
    for found in _STRUCTURE.finditer(text):
        mark = found.group()
        if mark == '"':
            quoted = not quoted
        elif quoted or mark[0] == "\\":
            continue
        elif mark in "]}":
            depth -= 1
        else:
            values += 1
            depth += mark != ","
        if depth > NESTING_MAX:
            raise errors.Invalid(f"the body is nested too deeply; allowed: {NESTING_MAX} levels")
        if values > VALUES_MAX:
            raise errors.Invalid(f"the body has too many values; allowed: at most {VALUES_MAX}")
