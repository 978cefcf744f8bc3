"""GET /healthcheck tells a load balancer whether this process can serve."""

import uuid

import pytest
import webob
from oslo_context.context import RequestContext

from gpupool.model import errors


def health(app):
    answer = webob.Request.blank("/healthcheck").get_response(app)
    return answer.status_int, answer.text


def test_without_a_database(service, tmp_path, caplog):
    """Whoever makes it anew has a database without tables, which is an outage as well."""
    assert health(service.app) == (200, "OK")
    service.agent.stop()
    service.database.close()
    for path in tmp_path.glob("gpupool.sqlite*"):
        path.unlink()
    folder = tmp_path / "gpupool.sqlite"
    folder.mkdir()
    try:
        assert health(service.app) == (503, "DATABASE UNAVAILABLE")
    finally:
        folder.rmdir()
    with pytest.raises(errors.Unavailable, match="the database lacks a table"):
        service.conductor.delete_pool(RequestContext(), str(uuid.uuid4()))
    assert not [each for each in caplog.records if each.exc_info]
