"""GET /healthcheck tells a load balancer whether this process can serve."""

import webob


def health(app):
    answer = webob.Request.blank("/healthcheck").get_response(app)
    return answer.status_int, answer.text


def test_without_a_database(service, tmp_path):
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
