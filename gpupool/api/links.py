"""Links of answers: where each item is, as ``self`` and ``bookmark`` links and ``Location`` say it.

``self`` is the item's address in this version of the API. ``bookmark`` has no version in it and stays
right when there is another one: it redirects to the item in the current version.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

Json = dict[str, Any]


def add(body: Json, nouns: str, prefix: str) -> None:
    """Add ``links`` to the item that ``body`` is, or to each of the items that it lists.

    ``nouns`` is the collection, as in the address; ``prefix`` what comes before ``/v1`` there.
    """
    for item in _items(body, nouns):
        item["links"] = [
            {"rel": "self", "href": address(prefix, nouns, item["id"])},
            {"rel": "bookmark", "href": f"{prefix}/{nouns}/{quote(item['id'], safe='')}"},
        ]


def address(prefix: str, nouns: str, item_id: str) -> str:
    """Return the address of an item in this version of the API."""
    return f"{prefix}/v1/{nouns}/{quote(item_id, safe='')}"


def _items(body: Json, nouns: str) -> Iterator[Json]:
    if isinstance(body.get(nouns), list):
        yield from body[nouns]
    elif "id" in body:
        yield body
