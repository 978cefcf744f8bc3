"""From names to ids."""

import pytest
from osc_lib.exceptions import CommandError

from gpupool.client import find


class Service:
    """A service with ``items``; as the API, it lists those of exactly the asked name."""

    def __init__(self, *items: dict[str, str]) -> None:
        self.items = items

    def list(self, _collection: str, query: dict[str, str]) -> list[dict[str, str]]:
        return [item for item in self.items if item["name"] == query["name"]]


def test_an_empty_name_is_no_claim_without_a_name() -> None:
    service = Service({"id": "1", "name": "", "state": "bound"})
    with pytest.raises(CommandError, match="'' names no claim; allowed: an id, or the name"):
        find.claim(service, "")


def test_of_many_claims_of_one_name_an_error_lists_some() -> None:
    items = [{"id": f"id-{number}", "name": "mine", "state": "bound"} for number in range(12)]
    with pytest.raises(CommandError) as error:
        find.claim(Service(*items), "mine")
    assert str(error.value).startswith("12 claims are named 'mine'; give one id of: id-0, id-1,")
    assert str(error.value).endswith("id-9, or 2 more")
