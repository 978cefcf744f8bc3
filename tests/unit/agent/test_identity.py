"""The files of a host's identity: made once, readable by the agent alone, never a number twice."""

import json
import stat

import pytest

from gpupool.agent import identity, record
from gpupool.agent.identity import Identity
from gpupool.cmd import agent_key
from gpupool.model import errors


def test_keys_are_made_once_and_are_the_owner_s(tmp_path):
    made = Identity(tmp_path).keys()
    assert Identity(tmp_path).keys() == made
    path = tmp_path / "keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()).keys() == {"schema_version", "sealing_key", "signing_key"}


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"signing_key": "AA==", "sealing_key": "AA=="}'])
def test_damaged_keys_are_not_replaced_in_silence(tmp_path, content):
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(errors.Invalid, match=r"keys.json is damaged: restore it, or remove it"):
        Identity(tmp_path).keys()
    assert (tmp_path / "keys.json").read_text() == content


def test_numbers_grow_over_restarts(tmp_path):
    last = 0
    for _ in range(3):
        own = Identity(tmp_path)
        for _ in range(3):
            before, last = last, own.next_sequence()
            assert last > before
    assert last < 4 * identity.AHEAD


def test_many_numbers_are_few_writes(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(record, "write", lambda path, value: written.append(value.below))
    own = Identity(tmp_path)
    numbers = [own.next_sequence() for _ in range(2 * identity.AHEAD)]
    assert numbers == sorted(set(numbers))
    assert len(written) <= 3
    assert written[-1] > numbers[-1]


def test_numbers_grow_while_the_disk_is_full(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "write", full)
    own = Identity(tmp_path)
    assert [own.next_sequence() for _ in range(3)] == [1, 2, 3]


def test_numbers_go_on_after_those_that_a_conductor_knows(tmp_path):
    own = Identity(tmp_path)
    own.next_sequence()
    own.skip_to(10**12)
    assert own.next_sequence() == 10**12 + 1
    own.skip_to(5)
    assert own.next_sequence() == 10**12 + 2
    assert Identity(tmp_path).next_sequence() > 10**12 + 2


def test_next_keys_wait_and_take_over(tmp_path):
    own = Identity(tmp_path)
    before = own.keys()
    assert own.next_keys() is None
    following = own.rotate()
    assert own.rotate() == following != before
    assert (Identity(tmp_path).keys(), Identity(tmp_path).next_keys()) == (before, following)
    assert own.advance() == following == Identity(tmp_path).keys()
    assert own.next_keys() is None


def test_conductors_keys_are_kept(tmp_path):
    own = Identity(tmp_path)
    assert own.trusted() == ()
    own.trust(("one", "two"))
    assert Identity(tmp_path).trusted() == ("one", "two")


@pytest.mark.parametrize("command", ["show", "rotate"])
def test_the_command_makes_no_keys_that_no_agent_has(tmp_path, capsys, command):
    config = tmp_path / "gpupool.conf"
    config.write_text(f"[agent]\nhost = compute-1\nstate_path = {tmp_path}/state\n")
    assert agent_key.main(["--config-file", str(config), command]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"host compute-1 has no keys in {tmp_path}/state ([agent] state_path)" in said.err
    assert "its agent makes them at its first start" in said.err
    assert not (tmp_path / "state").exists()


def test_the_command_shows_and_rotates(tmp_path, capsys):
    config = tmp_path / "gpupool.conf"
    config.write_text(f"[agent]\nstate_path = {tmp_path}/state\n")
    (tmp_path / "state").mkdir()
    own = Identity(tmp_path / "state")
    own.keys()

    def run(command):
        assert agent_key.main(["--config-file", str(config), command]) == 0
        return capsys.readouterr().out.strip()

    assert run("show") == own.keys().fingerprint
    assert run("rotate") == own.next_keys().fingerprint == run("rotate")
    assert run("show") == own.keys().fingerprint
    (tmp_path / "state/keys.json").write_text("{")
    assert agent_key.main(["--config-file", str(config), "show"]) == 1
    assert "keys.json is damaged" in capsys.readouterr().err
