"""The cluster is one on this machine, started once; Ray takes some seconds."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lungcls.errors import WeightsError
from lungcls.scale import Predictor, predictor, run

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
pytest.importorskip("ray.data", reason="the extra 'ray' is not installed")

pytestmark = pytest.mark.slow

Options = dict[str, Any]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    yield
    ray.shutdown()


@pytest.fixture
def manifest(films: list[str], tmp_path: Path) -> Path:
    path = tmp_path / "m.csv"
    path.write_text("uri,site\n" + "".join(f"{film},s{n}\n" for n, film in enumerate([*films, "no.png"] * 8)))
    return path


def rows(out: Path) -> pa.Table:
    parts = sorted((out / "shards").glob("*.parquet"))
    return pa.concat_tables([pq.read_table(part) for part in parts], promote_options="permissive")


@pytest.mark.usefixtures("cluster")
def test_a_cluster_writes_what_one_machine_writes(manifest: Path, options: Options, tmp_path: Path) -> None:
    report = run([str(manifest)], tmp_path / "ray", rows_per_shard=9, ray="auto", workers=2, **options)
    assert (report.rows, report.counts.rows, report.lost) == (88, 88, ())
    alone = run([str(manifest)], tmp_path / "alone", rows_per_shard=9, workers=1, **options)
    assert report.counts == alone.counts
    assert rows(tmp_path / "ray").equals(rows(tmp_path / "alone"))
    # What was begun on the one road is ended on the other.
    (tmp_path / "alone/shards/part-00000003.parquet").unlink()
    again = run([str(manifest)], tmp_path / "alone", rows_per_shard=9, ray="auto", workers=1, **options)
    assert again.rows == 9
    assert rows(tmp_path / "ray").equals(rows(tmp_path / "alone"))


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_is_killed_is_replaced(manifest: Path, options: Options, tmp_path: Path) -> None:
    killed: list[int] = []
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(0.1) and not killed:
            if not any((tmp_path / "out/shards").glob("*.parquet")):
                continue
            for process in psutil.process_iter(["cmdline"]):
                if "MapWorker(MapBatches(_Actor))" in " ".join(process.info["cmdline"] or []):
                    killed.append(process.pid)
                    os.kill(process.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    report = run([str(manifest)], tmp_path / "out", rows_per_shard=2, ray="auto", workers=1, **options)
    ended.set()
    thread.join()
    assert killed
    assert (report.counts.rows, report.lost) == (88, ())
    assert rows(tmp_path / "out")["row"].to_pylist() == list(range(88))


@pytest.mark.usefixtures("cluster")
def test_an_error_of_a_worker_is_that_of_the_run(manifest: Path, options: Options, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(WeightsError, match="nothing"):
        run([str(manifest)], tmp_path / "out", ray="auto", **{**options, "classifier": "nothing"})
    assert time.monotonic() - began < 60


@pytest.mark.usefixtures("cluster")
def test_the_predictor_maps_batches_in_tasks_and_in_actors(films: list[str], options: Options) -> None:
    table = pa.table({"path": films, "number": range(10)})
    plain = ray.data.from_arrow(table).map_batches(predictor("path", **options), batch_format="pyarrow")
    labels = {row["uri"]: row["label"] for row in plain.take_all()}
    actors = ray.data.from_arrow(table.rename_columns(["uri", "number"])).map_batches(
        Predictor,
        fn_constructor_kwargs=options,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    assert {row["uri"]: row["label"] for row in actors.take_all()} == labels
    assert sorted(labels) == sorted(films)
