"""Limits of projects in Keystone (unified limits), which gpupool's conductors read there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from osc_lib.exceptions import CommandError

from gpupool.client.identity import Identity, Json, Place, why

# The field of the API and, beneath this prefix, the name of the limit in Keystone.
RESOURCES = ("claims", "vgpus", "compute", "memory_mib")
_PREFIX = "gpupool_"
NO_LIMIT = -1


def write(identity: Identity, project_id: str, wanted: Mapping[str, int | None]) -> None:
    """Set limits of a project by resource; None takes its own away, so that the default counts.

    Raises CommandError, saying what was not set, when Keystone refuses one of them.
    """
    place = identity.place()
    _check_registered(identity, place, wanted)
    own = _own(identity, place, project_id)
    new = []
    for resource, value in wanted.items():
        with _naming(resource):
            if resource in own and value is None:
                _ask(identity, "DELETE", f"/limits/{own[resource]}", gone=True)
            elif resource in own:
                body: Json = {"limit": {"resource_limit": value}}
                _ask(identity, "PATCH", f"/limits/{own[resource]}", body)
            elif value is not None:
                new.append(_limit(place, project_id, resource, value))
    if new:
        with _naming(", ".join(each["resource_name"].removeprefix(_PREFIX) for each in new)):
            _ask(identity, "POST", "/limits", {"limits": new})


def _check_registered(identity: Identity, place: Place, wanted: Mapping[str, int | None]) -> None:
    """Raise CommandError unless Keystone has a registered limit, the default, of each resource."""
    body = _ask(identity, "GET", f"/registered_limits?service_id={place.service_id}")
    known = {
        each["resource_name"]
        for each in body["registered_limits"]
        if each["region_id"] == place.region_id
    }
    if missing := [_PREFIX + resource for resource in wanted if _PREFIX + resource not in known]:
        region = f" --region {place.region_id}" if place.region_id else ""
        raise CommandError(
            f"Keystone has no registered limit {', '.join(missing)}; an administrator makes one: "
            f"openstack registered limit create --service {place.service_id}{region} "
            "--default-limit NUMBER NAME"
        )


def _own(identity: Identity, place: Place, project_id: str) -> dict[str, str]:
    """Return the ids of the limits that a project has of its own, by resource."""
    body = _ask(identity, "GET", f"/limits?service_id={place.service_id}&project_id={project_id}")
    return {
        each["resource_name"].removeprefix(_PREFIX): each["id"]
        for each in body["limits"]
        if each["project_id"] == project_id and each["region_id"] == place.region_id
    }


def _limit(place: Place, project_id: str, resource: str, value: int) -> Json:
    region = {"region_id": place.region_id} if place.region_id else {}
    return {
        "service_id": place.service_id,
        **region,
        "project_id": project_id,
        "resource_name": _PREFIX + resource,
        "resource_limit": value,
    }


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Say in the error of the block which limit was not set."""
    try:
        yield
    except CommandError as exc:
        raise CommandError(f"the limit of {what} was not set: {exc}") from exc


def _ask(
    identity: Identity, method: str, path: str, body: Json | None = None, gone: bool = False
) -> Json:
    """Return the body of the answer; raises CommandError for a refusal, but not when ``gone`` may be."""
    status, answer = identity.request(method, path, **({} if body is None else {"json": body}))
    if status == 403:
        raise CommandError(
            f"Keystone does not let you (HTTP 403): setting limits takes the role admin; {why(answer)}"
        )
    if status >= 400 and not (gone and status == 404):
        raise CommandError(f"{why(answer)} (HTTP {status})")
    return answer
