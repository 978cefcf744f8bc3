"""The users of workers: one for each vGPU of the machine, whatever its agents do."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from gpupool.agent import uids
from gpupool.agent.uids import WorkerUids
from gpupool.model import errors
from tests.markers import needs_root

FIRST = 2_099_990_000


@pytest.fixture
def registry(tmp_path):
    """Return a function that makes a registry as an agent does; all have the same folder."""
    shared = tmp_path / "shared"
    shared.mkdir()

    def make(count: int = 4) -> WorkerUids:
        return WorkerUids(range(FIRST, FIRST + count), tmp_path / "registry", (shared,))

    return make


@pytest.fixture
def ledger(tmp_path):
    def make(name: str) -> Path:
        path = tmp_path / name
        path.touch()
        return path

    return make


def test_each_vgpu_has_one_and_keeps_it(registry, ledger):
    one, other = registry(), registry()
    taken = [one.take(ledger("a")), other.take(ledger("b")), one.take(ledger("c"))]
    assert sorted(taken) == [FIRST, FIRST + 1, FIRST + 2]
    # An agent that was restarted finds them again.
    assert [registry().take(ledger(name)) for name in "abc"] == taken


def test_a_number_that_is_another_vgpus_by_now_stays_its_own(registry, ledger):
    numbers = registry(2)
    gone, stays = ledger("gone"), ledger("stays")
    uid, other = numbers.take(gone), numbers.take(stays)
    numbers.give_back(gone, other)
    assert not numbers.has(gone, uid)
    assert numbers.has(stays, other)


def test_numbers_of_another_range_are_left_to_its_agents(registry, ledger, tmp_path):
    """Whose ledgers may be where this agent does not see them."""
    one = registry()
    elsewhere = ledger("elsewhere")
    uid = one.take(elsewhere)
    elsewhere.rename(tmp_path / "hidden")
    other = WorkerUids(range(FIRST + 100, FIRST + 104), tmp_path / "registry", ())
    other.take(ledger("a"))
    other.give_back(ledger("b"))
    assert one.has(elsewhere, uid)


def test_agents_that_take_at_once_get_different_ones(registry, ledger):
    taken, paths = [], [ledger(f"vgpu-{number}") for number in range(32)]

    def take(path):
        taken.append(registry(32).take(path))

    threads = [threading.Thread(target=take, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 32


def test_what_was_given_back_is_used_again_last(registry, ledger):
    users = registry(3)
    first = users.take(ledger("a"))
    (ledger("a")).unlink()
    users.give_back(ledger("a").parent / "a")
    assert [users.take(ledger("b")), users.take(ledger("c"))] == [FIRST + 1, FIRST + 2]
    assert users.take(ledger("d")) == first


def test_those_of_an_agent_that_is_gone_are_free(registry, ledger):
    users = registry(1)
    left = ledger("a")
    users.take(left)
    left.unlink()
    assert registry(1).take(ledger("b")) == FIRST


def test_one_that_was_taken_away_is_noticed(registry, ledger):
    """As by an agent that does not see this one's state folder."""
    users = registry()
    uid = users.take(ledger("a"))
    assert users.has(ledger("a"), uid)
    assert not users.has(ledger("b"), uid)
    assert not users.has(ledger("a"), uid + 1)


def test_when_none_is_left_that_is_said(registry, ledger):
    users = registry(2)
    users.take(ledger("a"))
    users.take(ledger("b"))
    with pytest.raises(errors.Unavailable, match="all 2 of \\[agent\\] worker_uids have a vGPU"):
        users.take(ledger("c"))


def test_a_range_that_was_changed_is_kept_to(registry, ledger, tmp_path):
    users = registry(1)
    users.take(ledger("a"))
    changed = WorkerUids(range(FIRST + 10, FIRST + 12), tmp_path / "registry", ())
    assert changed.take(ledger("a")) == FIRST + 10
    assert changed.take(ledger("b")) == FIRST + 11


@needs_root
def test_one_with_a_process_or_a_file_is_not_used_again(registry, ledger, tmp_path):
    file = tmp_path / "shared" / "left"
    file.touch()
    os.chown(file, FIRST, FIRST)
    process = subprocess.Popen(
        ["/bin/sleep", "60"], user=FIRST + 1, group=FIRST + 1, extra_groups=[], cwd="/"
    )
    try:
        assert registry(3).take(ledger("a")) == FIRST + 2
        with pytest.raises(errors.Unavailable):
            registry(3).take(ledger("b"))
    finally:
        process.kill()
        process.wait()
    assert registry(3).take(ledger("b")) == FIRST + 1
    file.unlink()
    assert registry(3).take(ledger("c")) == FIRST


@needs_root
@pytest.mark.parametrize(
    ("mapped", "subordinate", "allowed", "message"),
    [
        ("0 0 65536", "", range(70000, 70010), "does not have; allowed: 0-65535"),
        ("0 0 4294967295", "", range(1, 100), "but 1 is the user daemon"),
        ("0 0 4294967295", "root:100000:65536", range(165535, 165540), "for containers of root"),
    ],
)
def test_a_range_that_is_not_for_workers_is_refused(
    tmp_path, monkeypatch, mapped, subordinate, allowed, message
):
    (tmp_path / "uid_map").write_text(mapped + "\n")
    (tmp_path / "subuid").write_text(subordinate + "\n")
    monkeypatch.setattr(uids, "UID_MAP", tmp_path / "uid_map")
    monkeypatch.setattr(uids, "SUBORDINATE", tmp_path / "subuid")
    with pytest.raises(errors.Invalid, match=message):
        uids.check(allowed)
    uids.check(range(FIRST, FIRST + 10) if mapped.endswith("5") else range(61000, 61010))


@pytest.mark.parametrize("text", ["0-5", "7-5", "1-2147483648", "5", "a-b", ""])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(errors.Invalid, match="allowed: FIRST-LAST, ascending, of 1 to 2147483647"):
        uids.parse(text)
    assert uids.parse("5-7") == range(5, 8)
