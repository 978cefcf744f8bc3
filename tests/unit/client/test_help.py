"""What `openstack help gpu ...` says of every command and option."""

import argparse
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from gpupool.client import plugin

GROUP = f"openstack.{plugin.API_NAME}.v1"
DECLARED = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
COMMANDS: dict[str, str] = DECLARED["entry-points"][GROUP]
# A command says what it does, an option what it changes, in words that are orders or names.
UNCLEAR = {"have", "let", "what", "who", "whoever", "why"}


def texts(name: str) -> list[str]:
    made = EntryPoint(name, COMMANDS[name], GROUP).load()(argparse.Namespace(), None)
    parser = made.get_parser(name)
    return [made.get_description(), *(str(action.help) for action in parser._actions)]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_an_order_or_a_name(name: str) -> None:
    found = texts(name)
    assert len(found) > 1
    assert not [text for text in found if text.split()[0].lower() in UNCLEAR]
