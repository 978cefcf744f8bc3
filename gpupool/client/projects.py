"""From what people write of a project, its name or id, to the id that the API takes."""

import re
from collections import Counter
from urllib.parse import quote

from osc_lib.exceptions import CommandError

from gpupool.client.identity import Identity, Json

# As Keystone makes them; with dashes, as some other sources of identity do.
_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


def find(identity: Identity, text: str, domain: str | None, must_exist: bool = False) -> str:
    """Return the id of the project with that id or name; a name in ``domain`` (name or id), if given.

    An id that Keystone does not know, or does not show to the caller, is taken as it is unless the
    project ``must_exist``: one that is gone may have left claims. Raises CommandError for a name that
    no project, or more than one, has, and when the caller may not look.
    """
    own = identity.own()
    if text == own.project_id and own.is_of_domain(domain):
        return text
    looks_like_id = domain is None and _ID.fullmatch(text) is not None
    if looks_like_id and identity.request("GET", f"/projects/{text}")[0] == 200:
        return text
    query = {"name": text}
    if domain is not None:
        query["domain_id"] = _domain(identity, domain)
    status, body = identity.request("GET", "/projects", params=query)
    if status == 200:
        found = [each for each in body["projects"] if each["name"] == text]
        if found:
            return _only(found, text)
        if looks_like_id and not must_exist:
            return text
        place = f" in domain {domain!r}" if domain is not None else ""
        raise CommandError(f"Keystone has no project with the name or id {text!r}{place}")
    if text == own.name and own.is_of_domain(domain):
        return own.project_id
    if looks_like_id:
        return text
    raise CommandError(
        f"Keystone does not let you look for project {text!r} by its name (HTTP {status}); give its id"
    )


def names(identity: Identity) -> dict[str, str]:
    """Return by id the names of the projects that Keystone shows to the caller.

    Those are all of the cloud or a domain to its administrators and readers, to others the projects that
    they have a role in. A name that several have is told with the id of its domain. Raises CommandError
    when the caller may not even ask for its own.
    """
    status, body = identity.request("GET", "/projects")
    if status != 200:
        status, body = identity.request("GET", "/auth/projects")
    if status != 200:
        raise CommandError(f"Keystone does not tell their names (HTTP {status})")
    found: list[Json] = body["projects"]
    often = Counter(each["name"] for each in found)
    return {
        each["id"]: each["name"]
        if often[each["name"]] == 1
        else f"{each['name']}\n(domain {each['domain_id']})"
        for each in found
    }


def _only(found: list[Json], text: str) -> str:
    if len(found) == 1:
        return str(found[0]["id"])
    ids = ", ".join(f"{each['id']} (domain {each['domain_id']})" for each in found)
    raise CommandError(
        f"{len(found)} projects are named {text!r}; give --project-domain, or one id of: {ids}"
    )


def _domain(identity: Identity, text: str) -> str:
    """Return the id of a domain; of one that the caller may not look for, what was given is the id."""
    status, body = identity.request("GET", "/domains", params={"name": text})
    if status == 200:
        found = [each for each in body["domains"] if each["name"] == text]
        if found:
            return str(found[0]["id"])
        if identity.request("GET", f"/domains/{quote(text, safe='')}")[0] == 200:
            return text
        raise CommandError(f"Keystone has no domain with the name or id {text!r}")
    own = identity.own()
    return own.domain_id if own.is_of_domain(text) else text
