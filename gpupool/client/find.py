"""From what people write, an id or a name, to the id the API takes."""

import re

from osc_lib.exceptions import CommandError

from gpupool.client.rest import Client, Item

_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
# States of a claim that nothing leaves; such a claim gives its name free.
ENDED = frozenset({"released", "expired", "failed"})
# Ids that an error lists, where many items have the name.
_IDS_MAX = 10


def claim(client: Client, text: str) -> str:
    """Return the id of a claim; a name counts where one claim that has not ended bears it."""
    if _ID.fullmatch(text):
        return text
    if not text:
        # Claims without a name bear it, and a script whose variable is empty means none of them.
        raise CommandError("'' names no claim; allowed: an id, or the name of a claim that has one")
    found = list(client.list("claims", {"name": text}))
    live = [item for item in found if item["state"] not in ENDED]
    return _only(live or found, "claim", text)


def device(client: Client, text: str) -> str:
    """Return the id of a device, given as its id, its key, or HOST/KEY."""
    if _ID.fullmatch(text):
        return text
    host, _, key = text.rpartition("/")
    found = list(client.list("devices", {"key": key, "host": host or None}))
    return _only(found, "device", text)


def _only(found: list[Item], noun: str, text: str) -> str:
    if len(found) == 1:
        return str(found[0]["id"])
    if found:
        ids = ", ".join(item["id"] for item in found[:_IDS_MAX])
        if len(found) > _IDS_MAX:
            ids += f", or {len(found) - _IDS_MAX} more"
        raise CommandError(f"{len(found)} {noun}s are named {text!r}; give one id of: {ids}")
    raise CommandError(f"no {noun} with the id or name {text!r}")
