"""The request as controllers see it: the caller, and body and query once they are checked."""

import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import pecan
from oslo_context.context import RequestContext
from webob.multidict import MultiDict

from gpupool.api import bounds
from gpupool.api import errors as http_errors
from gpupool.api import schema as schemas
from gpupool.api.schema import Schema
from gpupool.model import errors
from gpupool.model import text as texts

JSON = "application/json"


class Request(pecan.Request):
    """One HTTP request."""

    # Pecan looks here for arguments of controllers; only the path gives any, the rest is checked first.
    json: Mapping[str, Any] = {}
    params: MultiDict = MultiDict()

    @property
    def caller(self) -> RequestContext:
        """Return who is calling. The token is left out: no other service needs it."""
        environ = self.environ
        if "gpupool.caller" not in environ:
            caller = RequestContext.from_environ(environ)
            caller.auth_token = None
            environ["gpupool.caller"] = caller
        return environ["gpupool.caller"]

    def checked_body(self, schema: Schema) -> dict[str, Any]:
        """Return the JSON body, or raise Invalid; 415 when it does not claim to be JSON."""
        if self.content_type != JSON:
            given = f"'{texts.shown(self.content_type)}'" if self.content_type else "missing"
            raise http_errors.HttpError(415, f"Content-Type is {given}; allowed: {JSON}")
        checked: dict[str, Any] = schemas.check(load(self.body), schema, "body")
        return checked

    def checked_new(self, schema: Schema) -> tuple[str, dict[str, Any]]:
        """Return as ``checked_body`` the id that the body gives, or a new one, and the rest of it."""
        body = self.checked_body(schema)
        return body.pop("id", None) or str(uuid.uuid4()), body

    def checked_query(self, schema: Schema) -> dict[str, Any]:
        """Return the query string as the types that ``schema`` names, or raise Invalid."""
        return schemas.parse_query(list(self.GET.items()), schema)


def load(body: bytes) -> Any:
    """Return what a body says in JSON, of so many values and so deep; raises Invalid."""
    try:
        text = body.decode("utf-8-sig")
        bounds.check_json(text)
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
    except ValueError as exc:
        raise errors.Invalid(f"the body is not JSON: {exc}") from exc


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = sorted(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"{texts.shown(', '.join(twice))} is given twice")
    return found
