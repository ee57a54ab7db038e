from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lungcls.files import PARTIAL, atomic_write, file_sha256


def test_writes_bytes_and_text_and_makes_the_folder(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a" / "b" / "x.bin") as file:
        file.write(b"\x00\r\n")
    with atomic_write(str(tmp_path / "x.csv"), "w") as file:
        file.write("Größe\r\n\n")
    assert (tmp_path / "a" / "b" / "x.bin").read_bytes() == b"\x00\r\n"
    assert (tmp_path / "x.csv").read_bytes() == "Größe\r\n\n".encode()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "x.bin", "x.csv"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path, "w") as file:  # noqa: PT012
        file.write("half of the n")
        file.flush()
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_is_free_until_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    with atomic_write(path, "w") as file:
        file.write("new")
        file.flush()
        assert not path.exists()
        (other,) = tmp_path.iterdir()
        # A leftover of a killed process must not pass for a result in a search by suffix.
        assert other.suffix == ".part"
        assert Path(file.name) == other
    assert path.read_text() == "new"


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    with atomic_write(path, "w") as first, atomic_write(path, "w") as second:
        first.write("first")
        second.write("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    with pytest.raises(OSError, match="No space left") as caught, atomic_write(path) as file:  # noqa: PT012
        with open("/dev/full", "wb", buffering=0) as full:
            os.dup2(full.fileno(), file.fileno())
        file.write(b"1")
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from lungcls.files import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(b"half of the file, and more than what comes after it")
    file.flush()
    print(flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name == "nt", reason="no such locks on Windows")
def test_what_a_killed_process_left_is_taken_over_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    subprocess.run([sys.executable, "-c", KILLED, str(path), "killed"], check=False, capture_output=True)
    (left,) = tmp_path.iterdir()
    assert PARTIAL.fullmatch(left.name)
    with atomic_write(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]
    command = [sys.executable, "-c", KILLED, str(path), "living"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living:
        assert living.stdout is not None
        living.stdout.readline()
        with atomic_write(path) as file:
            file.write(b"mine")
        assert path.read_bytes() == b"mine"
        assert len(list(tmp_path.iterdir())) == 2
        living.communicate(b"")
    assert path.read_bytes().startswith(b"half")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="no such links on Windows")
def test_nobody_can_lay_a_link_in_the_way(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    with atomic_write(tmp_path / "x.txt", "w"):
        (usual,) = set(tmp_path.iterdir()) - {victim}
    for lay in (usual.symlink_to, usual.hardlink_to):
        usual.unlink(missing_ok=True)
        lay(victim)
        with atomic_write(tmp_path / "x.txt", "w") as file:
            file.write("new")
        assert (victim.read_text(), (tmp_path / "x.txt").read_text()) == ("kept", "new")


def test_a_folder_in_the_way_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="x"), atomic_write(tmp_path / "x") as file:
        file.write(b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.skipif(os.name == "nt", reason="no umask on Windows")
def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with atomic_write(tmp_path / "atomic") as file:
        file.write(b"")
    assert stat.S_IMODE((tmp_path / "atomic").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


def test_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than one chunk
    (tmp_path / "x").write_bytes(content)
    assert file_sha256(tmp_path / "x") == hashlib.sha256(content).hexdigest()
