"""Files by URI, through fsspec: read with retries, written whole, created by one of several that try."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from lungcls.errors import MissingExtraError, StorageError
from lungcls.files import atomic_write

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

OBJECT_STORES: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory"})
"""Where a file becomes visible when its upload ends, and never before."""

ATTEMPTS: Final = 6
"""How often a file is asked for before its failure counts."""

# A repetition does not help against these.
_FINAL: Final = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ImportError)


@dataclass(frozen=True)
class Place:
    """A file or folder on some file system.

    Attributes
    ----------
    fs : fsspec.AbstractFileSystem
    path : str
        Without the protocol.
    uri : str
        As the user wrote it.
    """

    fs: AbstractFileSystem
    path: str
    uri: str

    @property
    def local(self) -> bool:
        """Whether it lies on this machine's own file system."""
        return "file" in self.protocols

    @property
    def protocols(self) -> tuple[str, ...]:
        """Names of the file system's protocol."""
        name = self.fs.protocol
        return (name,) if isinstance(name, str) else tuple(name)

    def below(self, name: str) -> Place:
        """Return a file or folder inside this one."""
        return Place(self.fs, f"{self.path.rstrip('/')}/{name}", f"{self.uri.rstrip('/')}/{name}")

    def exists(self) -> bool:
        """Whether it is there now, whatever was listed before.

        Raises
        ------
        StorageError
            If the storage refuses to tell.
        """
        with translated(self, "looked for"):
            self.fs.invalidate_cache(self.fs._parent(self.path))
            return bool(self.fs.exists(self.path))

    def read(self) -> bytes:
        """Return the content, as :func:`fetch` does.

        Raises
        ------
        StorageError
            If it cannot be read.
        """
        with translated(self, "read"):
            return fetch(self.fs, self.path)

    def names(self) -> list[str]:
        """Return the names of the files in this folder, sorted; none where there is no such folder.

        Raises
        ------
        StorageError
            If it cannot be listed.
        """
        with translated(self, "listed"):
            self.fs.invalidate_cache(self.path)
            try:
                entries = self.fs.ls(self.path, detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries)

    def create(self, content: bytes) -> bool:
        """Write a small file unless there is one; return whether it was written.

        Of several that try at the same time one succeeds, where the file system can tell (a local one, S3,
        Google Cloud Storage); elsewhere two can.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        with translated(self, "written"):
            if self.local:
                return _create_local(self.path, content)
            try:
                self.fs.makedirs(self.fs._parent(self.path), exist_ok=True)
                self.fs.pipe_file(self.path, content, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                # A store that lost the race says so in its own words.
                if "precondition" in str(error).lower() or "conflict" in str(error).lower():
                    return False
                raise
        return True

    @contextmanager
    def write(self) -> Iterator[IO[bytes]]:
        """Open a file whose content is seen whole under its name, or not at all.

        Yields
        ------
        file object
            On this machine; it goes to its place when the block ends without an exception.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        if self.local:
            with translated(self, "written"), atomic_write(self.path) as file:
                yield file
            return
        with translated(self, "written"), tempfile.TemporaryDirectory() as folder:
            local = os.path.join(folder, "content")
            with open(local, "wb") as file:
                yield file
            if OBJECT_STORES.intersection(self.protocols):
                _again(lambda: self.fs.put_file(local, self.path))
            else:
                self.fs.makedirs(self.fs._parent(self.path), exist_ok=True)
                partial = f"{self.fs._parent(self.path)}/.{secrets.token_hex(8)}.part"
                _again(lambda: self.fs.put_file(local, partial))
                self.fs.mv(partial, self.path)

    def remove(self, *, recursive: bool = False) -> None:
        """Delete it, if it is there."""
        with translated(self, "removed"), suppress(FileNotFoundError):
            self.fs.rm(self.path, recursive=recursive)

    def identity(self) -> dict[str, Any]:
        """Return what tells a file from a changed one: its size, and its tag or time of change.

        Raises
        ------
        StorageError
            If there is no such file or the storage refuses to tell.
        """
        with translated(self, "read"):
            info = self.fs.info(self.path)
        stamps = (
            "ETag",
            "etag",
            "md5Hash",
            "content_md5",
            "mtime",
            "LastModified",
            "last_modified",
            "created",
        )
        stamp = next((str(info[name]) for name in stamps if info.get(name)), "")
        return {"uri": self.uri, "size": info.get("size"), "stamp": stamp}


def place(uri: str | os.PathLike[str]) -> Place:
    """Return the place that a path or URI names, such as ``films/``, ``s3://bucket/key`` or ``memory://a``.

    Credentials, endpoints and all else that a file system needs come from its own configuration, or from
    fsspec's (the variables ``FSSPEC_<PROTOCOL>_<OPTION>`` and files in ``~/.config/fsspec``).

    Raises
    ------
    MissingExtraError
        If fsspec is not installed.
    StorageError
        If the protocol is unknown or its package is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError("fsspec", "scale", "work on manifests and remote files") from error
    text = os.fspath(uri)
    try:
        fs, path = url_to_fs(text)
    except ImportError as error:
        raise StorageError(
            f"{text}: its file system needs a package that is not installed: {error}"
        ) from error
    except Exception as error:  # each file system has its own for a word that it does not understand
        raise StorageError(f"{text}: no file system for it ({error}); expected a path or a URI") from error
    return Place(fs, path, text)


def is_remote(uri: str) -> bool:
    """Whether a word is a URI with a protocol, of which ``file`` is none."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", uri) is not None and not uri.startswith("file://")


def fetch(fs: AbstractFileSystem, path: str, most: int | None = None) -> bytes:
    """Read a whole file, or no more than so many bytes of it; again after a pause where the failure may pass.

    Raises
    ------
    Exception
        Whatever the file system raised at the last of :data:`ATTEMPTS`.
    """
    content: bytes = _again(lambda: fs.cat_file(path, end=most))
    return content


@contextmanager
def translated(where: Place, what: str) -> Iterator[None]:
    """Turn what a file system raises into a StorageError that names the place."""
    try:
        yield
    except (StorageError, MissingExtraError, KeyboardInterrupt, GeneratorExit):
        raise
    except OSError as error:
        raise StorageError(f"{where.uri} cannot be {what}: {reason(error)}") from error
    except Exception as error:
        # Clients of object stores have exceptions of their own; ours and bugs keep their class.
        if type(error).__module__.split(".")[0] in ("lungcls", "builtins", "pyarrow"):
            raise
        raise StorageError(f"{where.uri} cannot be {what}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Say in a few words why a file system failed."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return f"access is refused ({error})"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _again(call: Any) -> Any:
    from tenacity import Retrying, retry_if_not_exception_type, stop_after_attempt, wait_random_exponential

    retrying = Retrying(
        retry=retry_if_not_exception_type(_FINAL),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(0.2, max=20),
        reraise=True,
    )
    return retrying(call)


def _create_local(path: str, content: bytes) -> bool:
    """A link is there with its whole content or not at all, and there is only one of its name."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{os.path.basename(path)[:64]}.{secrets.token_hex(8)}.part")
    with open(temporary, "xb") as file:
        file.write(content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True
