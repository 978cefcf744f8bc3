"""Files that are whole or not there: what is synchronized, when, and what a failure leaves."""

import errno
import os
import stat

import pytest

from gpupool.agent import identity, record
from gpupool.model import whole_file


class Disk:
    """Notes what is synchronized, with what stood at ``path`` then: what losing power later leaves."""

    def __init__(self, path):
        self.path = path
        self.synchronized = []
        self._fsync = os.fsync

    def fsync(self, descriptor):
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        there = self.path.read_bytes() if self.path.exists() else None
        self.synchronized.append((os.path.basename(name), there))
        self._fsync(descriptor)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "folder"
    made.mkdir()
    return made


@pytest.fixture
def disk(folder, monkeypatch):
    made = Disk(folder / "file")
    monkeypatch.setattr(os, "fsync", made.fsync)
    return made


def test_content_is_synchronized_before_it_has_its_name_and_the_name_after_it(folder, disk):
    whole_file.write(disk.path, b"old")
    whole_file.write(disk.path, b"new")
    assert disk.synchronized == [
        (".file.partial", None),
        ("folder", b"old"),
        (".file.partial", b"old"),
        ("folder", b"new"),
    ]
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_what_need_not_outlast_a_restart_waits_for_no_disk(disk):
    whole_file.write(disk.path, b"new", durable=False)
    assert (disk.path.read_bytes(), disk.synchronized) == (b"new", [])


def test_a_new_name_is_synchronized(folder, disk):
    (folder / "other").write_bytes(b"new")
    whole_file.rename(folder / "other", disk.path)
    assert disk.synchronized == [("folder", b"new")]


@pytest.mark.parametrize("mode", [0o600, 0o444])
def test_it_has_the_rights_that_were_asked_for(folder, mode):
    whole_file.write(folder / "file", b"", mode=mode)
    assert stat.S_IMODE((folder / "file").stat().st_mode) == mode


def test_what_the_disk_does_not_take_leaves_the_old_file(folder, monkeypatch):
    path = folder / "file"
    whole_file.write(path, b"old")

    def fail(_descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error") as raised:
        whole_file.write(path, b"new")
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [path.name for path in folder.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("keys.json", lambda own: own.keys()),
        ("next_keys.json", lambda own: own.rotate()),
        ("keys.json", lambda own: own.rotate() and own.advance()),
        ("sequence.json", lambda own: own.next_sequence()),
        ("conductor_keys.json", lambda own: own.trust(("key",))),
    ],
    ids=["keys", "next keys", "present keys", "sequence", "trust"],
)
def test_an_identity_outlasts_a_restart_of_the_machine(folder, disk, name, change):
    disk.path = folder / name
    change(identity.Identity(folder))
    assert disk.synchronized[-1] == ("folder", disk.path.read_bytes())


def test_a_record_is_synchronized(folder, disk):
    record.write_json(disk.path, {"a": 1})
    assert disk.synchronized[-1] == ("folder", disk.path.read_bytes())
