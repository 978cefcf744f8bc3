"""CSV files: what is read, and what is refused by file, line and column."""

from pathlib import Path

import pytest

from gpupool.model import errors
from gpupool.replay.columns import Row, read


def row(**values: str) -> Row:
    return Row("a.csv line 7", values)


def test_values() -> None:
    assert row(a=" 12 ").integer("a") == 12
    assert row(a="1e3").number("a") == 1000.0
    assert row(a="V100|A10").text("a") == "V100|A10"
    assert row(a="nan").text("a") == row(a="").text("a") == row().text("a") == ""
    assert row(a="1970-01-02 00:00:01").time("a") == 86401
    assert row(a="1970-01-02T02:00:01+02:00").time("a") == 86401


@pytest.mark.parametrize("value", ["", "x", "1.5", "-1", "11"])
def test_integers_that_are_refused(value: str) -> None:
    with pytest.raises(
        errors.Invalid, match=rf"^a.csv line 7: a is '{value}'; allowed: a whole number from 0 to 10$"
    ):
        row(a=value).integer("a", most=10)


@pytest.mark.parametrize("value", ["", "x", "inf", "nan", "-0.5", "2147483648", "1e308"])
def test_numbers_that_are_refused(value: str) -> None:
    with pytest.raises(errors.Invalid, match=rf"a is '{value}'; allowed: a number from 0 to 2147483647"):
        row(a=value).number("a")


def test_other_values_that_are_refused() -> None:
    for time in ("yesterday", "9999-12-31 23:59:59-12:00", "0001-01-01 00:00:00+12:00"):
        with pytest.raises(errors.Invalid, match="allowed: a time such as"):
            row(a=time).time("a")
    with pytest.raises(errors.Invalid, match="a is '2147483648'; allowed: a whole number from 0 to"):
        row(a="2147483648").integer("a")
    with pytest.raises(errors.Invalid, match="a is ''; allowed: a name"):
        row(a="").name("a")
    with pytest.raises(errors.Invalid, match="a is None; allowed: a whole number from 3 to"):
        row().integer("a", least=3)


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_files(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffb, a,c\r\n1,2,x\r\n\r\n3,4,y\r\n")
    rows = list(read(path, ("a", "b")))
    assert [(each.integer("a"), each.integer("b"), each.where) for each in rows] == [
        (2, 1, f"{path} line 2"),
        (4, 3, f"{path} line 4"),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "line 1: there is no column a, b; needed: a, b; found: nothing"),
        ("a,c\n1,2\n", "line 1: there is no column b; needed: a, b; found: a, c"),
        ("a,b\n", ": there is no line after the columns' names"),
        ("a,b\n\n\n", ": there is no line after the columns' names"),
        ("a,b\n1,2\n1\n", "line 3: 1 fields; allowed: 2, as in line 1"),
        (b"a,b\n\xff,2\n", "can't be read: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_files_that_are_refused(content: str | bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid) as caught:
        list(read(write(tmp_path, content), ("a", "b")))
    assert reason in str(caught.value)
    assert str(tmp_path / "a.csv") in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match=r"none.csv can't be read: No such file or directory"):
        list(read(tmp_path / "none.csv", ()))
    with pytest.raises(errors.Invalid, match="can't be read: Is a directory"):
        list(read(tmp_path, ()))
