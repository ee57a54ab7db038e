from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lungcls import Pipeline
from lungcls.errors import DataError, StorageError
from lungcls.labels import CLASSES
from lungcls.scale import decode_mask, run
from lungcls.scale.progress import Snapshot
from lungcls.scale.schema import output_schema
from lungcls.scale.shards import Claims, ShardFolder, Start
from lungcls.scale.sources import RowShard
from lungcls.scale.worker import Job, Worker

Options = dict[str, Any]
Bucket = Callable[[str], str]


@pytest.fixture
def manifest(films: list[str], tmp_path: Path) -> Path:
    """Thirty rows of ten films, and three that are no films."""
    uris: list[str | None] = [*films, *films, *films]
    uris[4], uris[5], uris[11] = None, "gone.png", __file__
    path = tmp_path / "m.parquet"
    labels = [f"label {number}" for number in range(30)]
    pq.write_table(pa.table({"uri": uris, "label": labels, "age": range(30)}), path)
    return path


def rows_of(out: Path | str) -> list[dict[str, Any]]:
    folder = ShardFolder(str(out))
    rows: list[dict[str, Any]] = []
    for index in sorted(folder.done()):
        with folder.shard(index).fs.open(folder.shard(index).path, "rb") as file:
            rows += pq.read_table(file).to_pylist()
    return rows


def test_a_manifest_becomes_shards(
    manifest: Path, films: list[str], options: Options, tmp_path: Path
) -> None:
    seen: list[Snapshot] = []
    report = run([str(manifest)], tmp_path / "out", rows_per_shard=8, report=seen.append, **options)
    assert report.counts.errors == {"FilmError": 1, "ImageError": 1, "ImageFormatError": 1}
    assert (report.counts.rows, report.counts.shards, report.rows) == (30, 4, 30)
    assert (seen[-1].rows, seen[-1].total, seen[-1].failures) == (30, 30, report.counts.errors)

    rows = rows_of(tmp_path / "out")
    assert [(row["shard"], row["row"]) for row in rows] == [(number // 8, number) for number in range(30)]
    assert [row["input"] for row in rows] == [{"label": f"label {n}", "age": n} for n in range(30)]
    assert "names no film" in rows[4]["error"]
    assert "gone.png" in rows[5]["error"]
    # Every answer is the one of the pipeline itself.
    for row, answer in zip(rows, Pipeline(**options).predict(films)):
        if row["error"]:
            assert row["label"] is None
            continue
        assert row["label"] == answer.label
        assert row["probabilities"] == pytest.approx(answer.probabilities, abs=1e-6)
        assert np.array_equal(decode_mask(row["mask"]), answer.lungs.mask)
        assert row["lung_pixels"] == answer.lungs.mask.sum()
        assert tuple(row["box"] or ()) == (answer.box or ())
        assert len(row["reasons"]) == len(answer.quality.reasons)
    table = pq.read_table(tmp_path / "out/shards/part-00000000.parquet")
    kind = pa.struct([("label", pa.string()), ("age", pa.int64())])
    expected = output_schema(CLASSES, kind)
    assert (table.schema.names, table.schema.metadata) == (expected.names, expected.metadata)

    stored = json.loads((tmp_path / "out/run.json").read_text())
    assert stored["counts"]["rows"] == 30
    assert stored["run"]["weights"]["segmenter"]["sha256"] == rows[0]["segmenter_sha256"]
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["run.json", "shards"]

    # A second start finds nothing to do.
    again = run([str(manifest)], tmp_path / "out", rows_per_shard=8, **options)
    assert (again.rows, again.counts) == (0, report.counts)


def test_another_option_input_or_model_is_refused(manifest: Path, options: Options, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run([str(manifest)], out, rows_per_shard=100, masks="none", **options)
    with pytest.raises(DataError, match=r"another run \(options.masks was 'none', is 'rle'\)"):
        run([str(manifest)], out, rows_per_shard=100, **options)
    with pytest.raises(DataError, match=r"options.batch_size was 4, is 5"):
        run([str(manifest)], out, rows_per_shard=100, masks="none", **{**options, "batch_size": 5})
    with pytest.raises(DataError, match=r"input.rows_per_shard was 100, is 50"):
        run([str(manifest)], out, rows_per_shard=50, masks="none", **options)
    os.utime(manifest, (1, 1))
    with pytest.raises(DataError, match=r"input.manifests was .*'stamp'"):
        run([str(manifest)], out, rows_per_shard=100, masks="none", **options)


def test_masks_as_png(films: list[str], options: Options, tmp_path: Path) -> None:
    run(films, tmp_path / "out", masks="png", rows_per_shard=100, **options)
    assert "mask" not in rows_of(tmp_path / "out")[0]
    with tarfile.open(tmp_path / "out/shards/part-00000000.masks.tar") as archive:
        assert archive.getnames() == [f"{number:010d}.film{number}.png" for number in range(10)]
        for member, answer in zip(archive, Pipeline(**options).segment(films)):
            file = archive.extractfile(member)
            assert file is not None
            assert np.array_equal(np.asarray(Image.open(file)) > 0, answer.mask)


def worker(out: str, options: Options, start: str = "s") -> Worker:
    return Worker(Job(out, start, "", options))


def shard_of(films: list[str], index: int = 0) -> RowShard:
    columns = {"uri": films, "problem": pa.nulls(len(films), pa.string())}
    return RowShard(index, 0, pa.table(columns))


def test_a_bucket_in_and_out(bucket: Bucket, options: Options) -> None:
    """In this process, as the store is in its memory."""
    out = bucket("/out")
    uris = [bucket(f"/films/film{number}.png") for number in range(10)]
    with Start(ShardFolder(out)) as start:
        summary = worker(out, options, start.name).work(shard_of(uris))
    assert (summary.state, summary.rows, summary.failures) == ("done", 10, {})
    assert [row["uri"] for row in rows_of(out)] == uris


def test_a_film_that_breaks_what_reads_it_costs_only_its_row(films: list[str], options: Options) -> None:
    class Broken(Pipeline):
        def stream(self, sources: Any, **words: Any) -> Any:
            for answer in super().stream(sources, **words):
                if str(answer.path).endswith("film6.png"):
                    raise ZeroDivisionError("unforeseen")
                yield answer

    from lungcls.scale.films import Film
    from lungcls.scale.worker import answers

    pairs = [(Film(row, uri), uri) for row, uri in enumerate(films)]
    results = list(answers(Broken(**options), iter(pairs)))
    assert [film.row for film, _ in results] == list(range(10))
    errors = [str(answer.error) for _, answer in results if hasattr(answer, "error")]
    assert len(errors) == 1
    assert "film6.png: ZeroDivisionError: unforeseen" in errors[0]


def test_a_shard_belongs_to_the_start_that_claimed_it(tmp_path: Path) -> None:
    folder = ShardFolder(str(tmp_path / "out"))
    with Start(folder) as first, Start(folder) as second:
        ours, theirs = Claims(folder, first.name), Claims(folder, second.name)
        assert ours.claim(3)
        assert not theirs.claim(3)
        assert Claims(folder, first.name).claim(3)
        assert theirs.claim(4)
    # Both have ended: what they claimed falls to others, one by one.
    with Start(folder) as third, Start(folder) as fourth:
        assert Claims(folder, third.name).claim(3)
        assert not Claims(folder, fourth.name).claim(3)


def test_attempts_are_counted(tmp_path: Path) -> None:
    folder = ShardFolder(str(tmp_path / "out"))
    assert [Claims(folder, "a").attempt(0) for _ in range(3)] == [1, 2, 3]
    assert (Claims(folder, "a").attempt(1), Claims(folder, "b").attempt(0)) == (1, 1)


def test_a_start_on_another_machine_is_alive_as_long_as_it_gives_signs(
    tmp_path: Path, bucket: Bucket
) -> None:
    for uri in (str(tmp_path / "out"), bucket("/claims")):
        folder = ShardFolder(uri)
        far = Claims(folder, "far")
        assert far.claim(0)
        with folder.root.below("claims/start-far.json").write() as file:
            file.write(b'{"machine": "elsewhere", "pid": 1, "began": 0, "beat": 1}')
        near = Claims(folder, "near")
        assert not near.claim(0)
        content, since = near._seen["far"]
        near._seen["far"] = (content, since - 119)
        assert not near.claim(0)
        near._seen["far"] = (content, since - 121)
        assert near.claim(0)


SCRIPT = """
import json, sys
from lungcls.scale import run
if __name__ == "__main__":
    words = json.loads(sys.argv[1])
    run(words.pop("inputs"), words.pop("out"), report=lambda s: print(s.rows, flush=True), **words)
"""


def start(script: Path, out: Path, manifest: Path, options: Options) -> subprocess.Popen[str]:
    script.write_text(SCRIPT)
    words = {"inputs": [str(manifest)], "out": str(out), "rows_per_shard": 8, "workers": 1, **options}
    return subprocess.Popen(
        [sys.executable, str(script), json.dumps(words)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.fixture
def long_manifest(films: list[str], tmp_path: Path) -> Path:
    path = tmp_path / "long.csv"
    path.write_text("uri\n" + "".join(f"{film}\n" for film in films * 60))
    return path


@pytest.mark.slow
def test_a_killed_run_goes_on_and_two_starts_share_the_work(
    long_manifest: Path, options: Options, tmp_path: Path
) -> None:
    out, script = tmp_path / "out", tmp_path / "script.py"
    process = start(script, out, long_manifest, options)
    assert process.stdout is not None
    while int(process.stdout.readline()) < 50:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in (out / "shards").glob("*.parquet")}
    assert len(before) >= 5
    both = [start(script, out, long_manifest, options) for _ in range(2)]
    for one in both:
        one.communicate(timeout=120)
        assert one.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    rows = rows_of(out)
    assert [row["row"] for row in rows] == list(range(600))
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "shards"]
    assert all(path.suffix == ".parquet" for path in (out / "shards").iterdir())

    whole = tmp_path / "whole"
    unbroken = start(script, whole, long_manifest, options)
    unbroken.communicate(timeout=120)
    assert unbroken.returncode == 0
    assert rows_of(whole) == rows


def workers_here() -> list[psutil.Process]:
    workers = []
    for one in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # a zombie has no command line
            if "spawn_main" in " ".join(one.cmdline()):
                workers.append(one)
    return workers


def test_a_worker_that_dies_is_replaced(films: list[str], options: Options, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("uri\n" + "".join(f"{film}\n" for film in films * 30))
    killed = []

    def kill(snapshot: Snapshot) -> None:
        if snapshot.rows > 40 and not killed:
            for process in workers_here():
                killed.append(process.pid)
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    report = run([str(path)], tmp_path / "out", rows_per_shard=20, report=kill, workers=1, **options)
    assert killed
    assert [row["row"] for row in rows_of(tmp_path / "out")] == list(range(300))
    assert report.lost == ()


def test_a_shard_that_kills_its_workers_is_given_up_and_the_others_are_done(
    films: list[str], options: Options, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe.tar"
    os.mkfifo(pipe)  # nobody writes to it: who opens it waits, until it is killed
    good = tmp_path / "good.tar"
    with tarfile.open(good, "w") as archive:
        for film in films:
            archive.add(film, Path(film).name)
    killed: list[int] = []

    def kill(snapshot: Snapshot) -> None:
        for process in workers_here():
            if len(killed) < 3 and process.pid not in killed:
                killed.append(process.pid)
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    report = run([str(pipe), str(good)], tmp_path / "out", report=kill, workers=1, **options)
    assert [(one.shard, one.problem) for one in report.lost] == [(0, "its worker process died 3 times")]
    assert report.counts.rows == 10
    # The folder does not say that the run has ended, and a second start tries again.
    assert "counts" not in json.loads((tmp_path / "out/run.json").read_text())


def test_a_full_disk_is_an_error_and_what_was_done_stays(
    films: list[str], options: Options, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
    work = worker(str(tmp_path / "out"), options)
    work.work(shard_of(films))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"part-00000001\.parquet cannot be written: .*too large"):
            work.work(shard_of(films * 5, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(rows_of(tmp_path / "out")) == 10
    assert [path.name for path in (tmp_path / "out/shards").iterdir()] == ["part-00000000.parquet"]


def test_a_folder_that_cannot_be_written_is_named(films: list[str], options: Options, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"file/out/\S+ cannot be"):
        run(films, tmp_path / "file/out", **options)
