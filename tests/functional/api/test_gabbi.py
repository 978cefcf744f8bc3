"""Runs every file of gabbits/ over WSGI against a service of its own.

gabbi's pytest plug-in is not used: it takes every parametrized test of the whole run whose name has a
colon for one of its own.
"""

import unittest
from pathlib import Path

import pytest
from gabbi import driver

FOLDER = Path(__file__).parent / "gabbits"
FILES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def at_localhost(application):
    """gabbi makes up a host; one that asks for no login answers to its own names only."""

    def call(environ, start_response):
        return application({**environ, "HTTP_HOST": "localhost:8001"}, start_response)

    return call


@pytest.mark.parametrize("name", FILES)
def test_file(name, service, monkeypatch):
    monkeypatch.setenv("HOST", service.agent.host)
    monkeypatch.setenv("SILENT_HOST", service.silent)
    suites = driver.build_tests(
        str(FOLDER),
        unittest.defaultTestLoader,
        intercept=lambda: at_localhost(service.app),
        test_loader_name="api",
    )
    suite = next(suite for suite in suites if type(next(iter(suite))).__name__.startswith(f"{name}_"))
    result = unittest.TestResult()
    suite.run(result)
    problems = [*result.failures, *result.errors, *result.skipped]
    assert not problems, "\n".join(f"{test}: {text}" for test, text in problems)
    assert result.testsRun == suite.countTestCases()
