"""Records: whole or not there."""

import errno
import os
import stat
from dataclasses import dataclass
from datetime import datetime

import pytest

from gpupool.agent import record


@dataclass(frozen=True, kw_only=True)
class Noted:
    name: str
    at: datetime | None = None
    schema_version: int = 1


def test_what_is_written_is_read(tmp_path):
    noted = Noted(name="x", at=datetime(2026, 1, 2, 3, 4, 5, 678))
    record.write(tmp_path / "one", noted)
    assert record.read(tmp_path / "one", Noted) == noted
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600


def test_what_is_not_there_is_none(tmp_path):
    assert record.read(tmp_path / "one", Noted) is None


@pytest.mark.parametrize(
    "content", ["", '{"name": "x', "[]", "{}", '{"name": "x", "schema_version": 2}']
)
def test_what_is_not_whole_is_none_with_a_warning(tmp_path, caplog, content):
    (tmp_path / "one").write_text(content)
    assert record.read(tmp_path / "one", Noted) is None
    assert "can't be read" in caplog.text


def test_what_was_not_finished_has_no_name(tmp_path):
    record.write(tmp_path / "one", Noted(name="x"))
    (tmp_path / ".two.partial").touch()
    assert record.names(tmp_path) == ["one"]


def test_what_is_removed_is_not_listed_while_the_folder_cannot_be_read(tmp_path, monkeypatch):
    for name in ("gone", "stays"):
        (tmp_path / name).touch()
    listing = record.Listing(tmp_path)
    assert listing.names() == ["gone", "stays"]

    def full(_folder):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(record, "names", full)
    listing.forget("gone")
    assert listing.names() == ["stays"]


def test_what_cannot_be_looked_at_is_what_was_listed(tmp_path, monkeypatch):
    (tmp_path / "one").touch()
    listing = record.Listing(tmp_path)
    assert (listing.has("one"), listing.has("two")) == (True, False)
    listing.names()

    def fail(_path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "lstat", fail)
    assert (listing.has("one"), listing.has("two")) == (True, False)
