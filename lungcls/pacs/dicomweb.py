"""Films from a PACS and results into it over DICOMweb (QIDO-RS, WADO-RS, STOW-RS), resumable."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pydicom
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset

from lungcls.errors import DataError, LungclsError
from lungcls.files import atomic_write, file_sha256
from lungcls.pacs.deidentify import Deidentifier

_log = logging.getLogger(__name__)

_UID: Final = re.compile(r"[0-9.]{1,64}")
JOURNAL: Final = ".lungcls-pushed.jsonl"


@dataclass(frozen=True, slots=True)
class Transferred:
    """What came of one instance.

    Attributes
    ----------
    name : str
        SOP Instance UID or path.
    state : {"done", "known", "failed"}
        Moved now, moved by an earlier run, or not moved.
    reason : str
        Why it failed.
    """

    name: str
    state: str
    reason: str = ""


def connect(
    url: str, user: str = "", password: str = "", token: str = "", timeout: float = 60
) -> DICOMwebClient:
    """Return a client for a DICOMweb service.

    Parameters
    ----------
    url : str
        Such as ``http://127.0.0.1:8042/dicom-web``.
    user, password : str
        For HTTP basic authentication.
    token : str
        Bearer token.
    timeout : float
        Seconds without an answer after which a request fails.
    """
    session = requests.Session()
    if user:
        session.auth = (user, password)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    client = DICOMwebClient(url.rstrip("/"), session=session, headers=headers)
    client.set_http_retry_params(retry=True, max_attempts=4, wait_exponential_multiplier=500)
    # requests has no time limit of its own.
    session.request = _limited(session.request, timeout)  # type: ignore[method-assign]
    return client


def find_films(
    client: DICOMwebClient, filters: Mapping[str, str], page: int = 100
) -> Iterator[tuple[str, str, str]]:
    """Search instances (QIDO-RS), a page at a time.

    Parameters
    ----------
    client : DICOMwebClient
    filters : mapping of str to str
        Keyword to value, such as ``{"Modality": "CR"}``; ranges and wildcards as in DICOM queries.
    page : int, default=100
        Instances a request.

    Yields
    ------
    (study, series, instance)
        UIDs.

    Raises
    ------
    DataError
        If the service does not answer.
    """
    offset, seen = 0, set()
    while True:
        try:
            instances = client.search_for_instances(search_filters=dict(filters), limit=page, offset=offset)
        except (OSError, ValueError) as error:
            raise _unreachable(client, error) from error
        new = 0
        for item in instances:
            uids = tuple(_value(item, tag) for tag in ("0020000D", "0020000E", "00080018"))
            if all(_UID.fullmatch(uid) for uid in uids) and uids not in seen:
                seen.add(uids)
                new += 1
                yield uids[0], uids[1], uids[2]
        # A service that ignores the offset gives the same page for ever.
        if len(instances) < page or not new:
            return
        offset += len(instances)


def pull(
    client: DICOMwebClient,
    films: Iterator[tuple[str, str, str]],
    out: Path,
    deidentifier: Deidentifier | None = None,
) -> Iterator[Transferred]:
    """Fetch instances (WADO-RS) into ``out/<study>/<series>/<instance>.dcm``, but for those that are there.

    Yields
    ------
    Transferred
        One an instance.
    """
    for study, series, instance in films:
        uids = [study, series, instance]
        if deidentifier is not None:
            uids = [str(deidentifier.uid(uid)) for uid in uids]
        path = out.joinpath(*uids).with_name(f"{uids[-1]}.dcm")
        if path.is_file():
            yield Transferred(instance, "known")
            continue
        try:
            dataset = client.retrieve_instance(study, series, instance)
            if deidentifier is not None:
                dataset = deidentifier.film(dataset, instance)
            with atomic_write(path) as file:
                dataset.save_as(file, enforce_file_format=True)
        except (OSError, LungclsError) as error:
            yield Transferred(instance, "failed", _words(error))
            continue
        except Exception as error:  # pydicom and the client raise many kinds for damaged data
            yield Transferred(instance, "failed", type(error).__name__)
            continue
        yield Transferred(instance, "done")


def push(
    client: DICOMwebClient,
    paths: Sequence[Path],
    journal: Path | None = None,
    deidentifier: Deidentifier | None = None,
) -> Iterator[Transferred]:
    """Send files (STOW-RS); a journal of what has arrived lets a run go on where one was cut short.

    Parameters
    ----------
    client : DICOMwebClient
    paths : sequence of Path
        DICOM files.
    journal : Path, optional
        One line a file that arrived: service, path, SHA-256. A file that has changed is sent again.
    deidentifier : Deidentifier, optional
        Takes the patient off films; other objects are then refused.

    Yields
    ------
    Transferred
        One a file.
    """
    arrived = _arrived(journal)
    for path in paths:
        try:
            key = (client.base_url, os.path.abspath(path), file_sha256(path))
            if key in arrived:
                yield Transferred(str(path), "known")
                continue
            dataset: Dataset = pydicom.dcmread(path)
            if deidentifier is not None:
                dataset = deidentifier.film(dataset, str(path))
            _stored(client.store_instances([dataset]))
        except (OSError, LungclsError) as error:
            yield Transferred(str(path), "failed", _words(error))
            continue
        except Exception as error:
            yield Transferred(str(path), "failed", type(error).__name__)
            continue
        if journal is not None:
            journal.parent.mkdir(parents=True, exist_ok=True)
            with journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(key) + "\n")
        yield Transferred(str(path), "done")


def _stored(answer: Dataset) -> None:
    """Raise where a service took a request and not the instance in it."""
    failed = answer.get("FailedSOPSequence") or answer.get("OtherFailuresSequence")
    if failed:
        reason = failed[0].get("FailureReason")
        raise DataError(
            f"the service did not store it (reason {reason:04X})" if reason else "it was not stored"
        )


def _arrived(journal: Path | None) -> set[tuple[str, str, str]]:
    if journal is None or not journal.is_file():
        return set()
    done = set()
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            url, path, digest = json.loads(line)
        except ValueError:  # the last line of a run that was killed
            continue
        done.add((url, path, digest))
    return done


def _value(item: Mapping[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _words(error: Exception) -> str:
    """One line of an error: those of HTTP name the status and the address, and no content."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _unreachable(client: DICOMwebClient, error: Exception) -> DataError:
    return DataError(
        f"{client.base_url}: found no answer to a search ({_words(error)}), expected a DICOMweb "
        "service; check the address and the password"
    )


def _limited(request: Any, timeout: float) -> Any:
    def with_timeout(*arguments: Any, **options: Any) -> Any:
        options.setdefault("timeout", timeout)
        return request(*arguments, **options)

    return with_timeout
