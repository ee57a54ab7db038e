"""Runs over many films: rate, memory, first result, kills, Ray, a bad bucket, and a model of large clusters.

    python benchmarks/scale.py --data DIR [--only rate memory first kills ray bucket model] [--minutes 3]
        [--rows 20000]

Each part writes ``benchmarks/results/scale_<part>.json``. Parts about the films' own speed use the released
networks; those about books and processes use small ones that were never trained, so that many rows fit in
minutes. ``--minutes`` bounds the parts that can be made shorter; what was done stands in each file, with the
load of the machine beside it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from scale_model import model

from lungcls.files import atomic_write
from lungcls.versions import versions

RESULTS = Path(__file__).parent / "results"
_FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
FAST = {
    "engine": "openvino",
    # Without instructions for it, bf16 is slower than fp32.
    "precision": "bf16" if "amx_bf16" in _FLAGS or "avx512_bf16" in _FLAGS else "fp32",
    "device": "cpu",
    "batch_size": 16,
}
ROWS = [20_000]
"""Rows of the run that is killed; ``--rows``."""

RUN = """
import json, sys, time
import psutil
from lungcls.scale import run
if __name__ == "__main__":
    words = json.loads(sys.argv[1])
    every = words.pop("every", 0)
    began, said = time.time(), 0.0
    def report(snapshot):
        global said
        if time.time() - said < every:
            return
        said = time.time()
        main = psutil.Process()
        own = [main, *main.children(recursive=True)]
        print(json.dumps({"seconds": time.time() - began, "rows": snapshot.rows, "shards": snapshot.shards,
                          "cpu": sum(one.cpu_times().user + one.cpu_times().system for one in own),
                          "mib": [one.memory_info().rss / 2**20 for one in own]}), flush=True)
    run(words.pop("inputs"), words.pop("out"), report=report, **words)
"""
STREAM = """
import json, sys, time
from lungcls import Pipeline
words = json.loads(sys.argv[1])
files = words.pop("files")
pipeline = Pipeline(**words)
list(pipeline.stream(files[:32], on_error="return"))
began, before = time.perf_counter(), time.process_time()
count = sum(1 for _ in pipeline.stream(files, on_error="return"))
cpu = time.process_time() - before
print(json.dumps({"rows": count, "seconds": time.perf_counter() - began, "cpu": cpu}))
"""


def films(data: Path, count: int) -> list[str]:
    """Real films, repeated where there are fewer."""
    paths = sorted(str(path) for path in data.glob("radiography/*/images/*"))
    random.Random(0).shuffle(paths)
    return list(itertools.islice(itertools.cycle(paths), count))


def manifest(folder: Path, uris: list[str], name: str = "films.parquet") -> Path:
    """Write the manifest that a run reads."""
    path = folder / name
    pq.write_table(pa.table({"uri": uris, "number": range(len(uris))}), path, row_group_size=65536)
    return path


def small_networks(folder: Path) -> dict[str, Any]:
    """Options of a pipeline of two networks that were never trained and take a moment."""
    import torch

    from lungcls.export import write_graph
    from lungcls.labels import CLASSES
    from lungcls.models import create_model
    from lungcls.weights import save_weights

    common = {
        "value_range": (0.0, 1.0), "mean": 0.5, "std": 0.25, "training_data": {}, "recipe": {}, "metrics": {},
        "versions": {}, "licence": "none", "input_size": 64, "temperature": 1.0,
    }  # fmt: skip
    unet = {"model": "unet", "encoder": "tu-resnet18", "encoder_depth": 2, "decoder_channels": [16, 8]}
    cnn = {"model": "cnn-4conv", "classes": 4, "channels": 1, "size": 64}
    torch.manual_seed(0)
    segmenter = save_weights(
        folder, create_model(unet).state_dict(), name="small-segmenter", task="segmentation",
        architecture=unet, region=None, classes=("lung",), thresholds={"mask": 0.5}, **common,
    )  # fmt: skip
    classifier = save_weights(
        folder, create_model(cnn).state_dict(), name="small-classifier", task="classification",
        architecture=cnn, region={"name": "mask", "margin": 0.05, "dilate": 0.01}, classes=CLASSES,
        thresholds={}, **common,
    )  # fmt: skip
    for path in (segmenter, classifier):
        write_graph(path)
    names = {"segmenter": str(segmenter), "classifier": str(classifier)}
    return {**names, "gate": None, "engine": "onnxruntime", "device": "cpu", "batch_size": 16}


def start(code: str, words: dict[str, Any], folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a script in a process group of its own, which ends with it."""
    script = folder / f"script{len(list(folder.glob('script*')))}.py"
    script.write_text(code)
    return subprocess.Popen(
        [sys.executable, str(script), json.dumps(words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


def lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What a script prints."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            yield json.loads(line)


def rate(data: Path, folder: Path, minutes: float) -> dict[str, Any]:
    """Films a second of a manifest run beside Pipeline.stream, in turns, from local files."""
    count = 160
    files = films(data, count)
    path = manifest(folder, files)
    rounds = []
    began = time.monotonic()
    while len(rounds) < 2 or (len(rounds) < 7 and time.monotonic() - began < 60 * minutes):
        stream = list(lines(start(STREAM, {"files": files, **FAST}, folder)))[-1]
        words = {"inputs": [str(path)], "out": str(folder / f"rate{len(rounds)}")}
        marks = [mark for mark in lines(start(RUN, {**words, "workers": 1, **FAST}, folder)) if mark["rows"]]
        first = marks[0]
        run = (marks[-1]["rows"] - first["rows"]) / (marks[-1]["seconds"] - first["seconds"])
        work = (marks[-1]["cpu"] - first["cpu"]) / (marks[-1]["rows"] - first["rows"])
        rounds.append(
            {
                "stream": stream["rows"] / stream["seconds"],
                "run": run,
                "stream_cpu_s_per_film": stream["cpu"] / stream["rows"],
                "run_cpu_s_per_film": work,
                "load": os.getloadavg()[0],
            }
        )
    ratios = [one["run"] / one["stream"] for one in rounds]
    of_work = [one["stream_cpu_s_per_film"] / one["run_cpu_s_per_film"] for one in rounds]
    return {
        "films": count,
        "engine": FAST,
        "rounds": rounds,
        "stream_films_per_s": statistics.median(one["stream"] for one in rounds),
        "run_films_per_s": statistics.median(one["run"] for one in rounds),
        "ratio": statistics.median(ratios),
        "ratio_by_processor_time": statistics.median(of_work),
        "asked": 0.95,
    }


def memory(data: Path, folder: Path, minutes: float) -> dict[str, Any]:
    """Resident memory of main process and worker while rows pass, by small and by the released networks."""
    answers = {}
    for name, options in (("small networks", small_networks(folder)), ("released networks", FAST)):
        path = manifest(folder, films(data, 100_000))
        words = {"inputs": [str(path)], "out": str(folder / name.split()[0]), "workers": 1, "every": 5}
        process = start(RUN, {**words, **options}, folder)
        marks = []
        for mark in lines(process):
            marks.append(mark)
            if mark["seconds"] > 60 * minutes:
                break
        process.kill()
        process.wait()
        loaded = [mark for mark in marks if mark["rows"] > 1000]
        half = loaded[: len(loaded) // 2], loaded[len(loaded) // 2 :]
        answers[name] = {
            "rows": marks[-1]["rows"],
            "of": 100_000,
            "peak_mib": {
                "main": max(mark["mib"][0] for mark in marks),
                "worker": max(max(mark["mib"][1:], default=0) for mark in marks),
            },
            "median_mib_by_half": [
                {
                    "main": statistics.median(mark["mib"][0] for mark in part),
                    "worker": statistics.median(max(mark["mib"][1:], default=0) for mark in part),
                }
                for part in half
                if part
            ],
        }
    return {**answers, "asked": "flat, under 1536 MiB each"}


def first(data: Path, folder: Path, minutes: float) -> dict[str, Any]:
    """Seconds from the command to the first row and first shard of ten million rows, and of a hundred."""
    count = 10_000_000
    some = films(data, 5000)
    uris = pa.array(some).take(pa.array(np.arange(count) % len(some)))
    table = pa.table({"uri": uris, "number": np.arange(count)})
    answers = {}
    for name in ("hundred.parquet", "films.parquet", "films.csv"):
        path = folder / name
        if name.endswith("csv"):
            pyarrow.csv.write_csv(table, path)
        else:
            rows = table.slice(0, 100) if name.startswith("hundred") else table
            pq.write_table(rows, path, row_group_size=1 << 20)
        words = {"inputs": [str(path)], "out": str(folder / f"first-{name}"), "rows_per_shard": 64}
        began = time.monotonic()
        process = start(RUN, {**words, "workers": 1, **FAST}, folder)
        row = shard = 0.0
        for mark in lines(process):
            row = row or (time.monotonic() - began if mark["rows"] else 0.0)
            shard = shard or (time.monotonic() - began if mark["shards"] else 0.0)
            if shard:
                break
        process.kill()
        process.wait()
        answers[name] = {
            "seconds_to_first_row": row,
            "seconds_to_first_shard": shard,
            "mib": path.stat().st_size >> 20,
        }
    return {"rows": count, "rows_per_shard": 64, **answers, "asked": 10}


def kills(data: Path, folder: Path, minutes: float) -> dict[str, Any]:
    """A run killed twenty times at random moments beside the same run unbroken, on one machine and on Ray."""
    options = small_networks(folder)
    answers = {}
    rows = ROWS[0]
    for name, ray in (("one machine", {}), ("ray", {"ray": "local"})):
        path = manifest(folder, films(data, rows))
        words = {"inputs": [str(path)], "rows_per_shard": 100, "workers": 1, **options}
        key = name.split()[0]
        broken, whole = folder / f"{key}-broken", folder / "whole"
        if not whole.exists():
            for _ in lines(start(RUN, {**words, "out": str(whole)}, folder)):
                pass
        choice = random.Random(1)
        count = starts = 0
        killed: dict[str, int] = {"main": 0, "worker": 0}
        began = time.monotonic()
        while True:
            starts += 1
            process = start(RUN, {**words, "out": str(broken), **ray}, folder)
            due = time.monotonic() + choice.uniform(2, 12)
            ended = False
            for mark in lines(process):
                if count == 20 or time.monotonic() < due or not mark["rows"]:
                    continue
                if time.monotonic() - began > 60 * minutes * 3:
                    break
                count += 1
                due = time.monotonic() + choice.uniform(2, 12)
                workers = _workers(process.pid)
                if workers and choice.random() < 0.5:
                    killed["worker"] += 1
                    os.kill(choice.choice(workers).pid, signal.SIGKILL)
                else:
                    killed["main"] += 1
                    process.kill()
                    break
            else:
                ended = process.wait() == 0
            process.wait()
            if ended or time.monotonic() - began > 60 * minutes * 3:
                break
        answers[name] = {
            "rows": rows,
            "ended": ended,
            "kills": count,
            "killed": killed,
            "starts": starts,
            "identical": ended and _rows(broken).equals(_rows(whole)),
            "seconds": time.monotonic() - began,
        }
    return {**answers, "asked": "20 kills, identical, no row lost or doubled"}


def _workers(pid: int) -> list[psutil.Process]:
    """The processes that do shards: of a pool, or actors of a Ray cluster that the process started."""
    names = ("spawn_main", "MapWorker(MapBatches(_Actor))")
    found = []
    for one in psutil.Process(pid).children(recursive=True):
        try:
            words = " ".join(one.cmdline())
        except psutil.Error:
            continue
        if any(name in words for name in names):
            found.append(one)
    return found


def _rows(folder: Path) -> pa.Table:
    parts = sorted(folder.glob("shards/*.parquet"))
    return pa.concat_tables([pq.read_table(part) for part in parts], promote_options="permissive")


def ray(data: Path, folder: Path, minutes: float) -> dict[str, Any]:
    """Films a second on a local cluster with one worker and with two, of one processor each."""
    answers = []
    for workers in (1, 2, 1, 2):
        path = manifest(folder, films(data, 256 * workers))
        out = folder / f"ray-{len(answers)}"
        words = {
            "inputs": [str(path)],
            "out": str(out),
            "rows_per_shard": 32,
            "ray": "local",
            "workers": workers,
        }
        marks = [mark for mark in lines(start(RUN, {**words, **FAST}, folder)) if mark["rows"]]
        seconds = marks[-1]["seconds"] - marks[0]["seconds"]
        answers.append(
            {
                "workers": workers,
                "films_per_s": (marks[-1]["rows"] - marks[0]["rows"]) / seconds if seconds else None,
                "load": os.getloadavg()[0],
            }
        )
    speed = {
        n: statistics.median(one["films_per_s"] for one in answers if one["workers"] == n) for n in (1, 2)
    }
    return {"runs": answers, "share_of_linear": speed[2] / (2 * speed[1]), "asked": 0.9}


def bucket(data: Path, folder: Path, minutes: float) -> dict[str, Any]:
    """A bucket on this machine: 5% of requests fail or are throttled, 5% are slow."""
    import boto3
    from flaky_bucket import flaky_bucket

    count = 1000
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    with flaky_bucket() as (endpoint, flaky):
        client = boto3.client("s3", endpoint_url=endpoint, **keys)
        uris = []
        for number, file in enumerate(films(data, count)):
            if number < 200:
                client.upload_file(file, "films", f"in/{number}.png")
            uris.append(f"s3://films/in/{number % 200}.png")
        path = manifest(folder, uris)
        flaky.counts.clear()
        words = {"inputs": [str(path)], "out": "s3://films/out", "rows_per_shard": 100, "workers": 1}
        environment = {
            "FSSPEC_S3_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        }  # fmt: skip
        process = start(RUN, {**words, **small_networks(folder)}, folder, **environment)
        marks = list(lines(process))
        parts = client.list_objects_v2(Bucket="films", Prefix="out/shards/")["Contents"]
        numbers: list[int] = []
        failed = 0
        for part in parts:
            body = client.get_object(Bucket="films", Key=part["Key"])["Body"].read()
            table = pq.read_table(pa.BufferReader(body))
            numbers += table["row"].to_pylist()
            failed += len(table["error"].drop_null())
    return {
        "films": count,
        "ended": process.wait() == 0,
        "every_row_once": numbers == list(range(count)),
        "rows_with_error": failed,
        "requests": dict(flaky.counts),
        "seconds": marks[-1]["seconds"],
    }


PARTS: dict[str, Callable[[Path, Path, float], dict[str, Any]]] = {
    "rate": rate, "memory": memory, "first": first, "kills": kills, "ray": ray, "bucket": bucket,
    "model": model,
}  # fmt: skip


def main() -> None:
    """Measure the parts that are asked for, and write a file each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"))
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--rows", type=int, default=ROWS[0], help="of the run that is killed")
    chosen = parser.parse_args()
    ROWS[0] = chosen.rows
    for name in chosen.only:
        before = os.getloadavg()
        with tempfile.TemporaryDirectory() as folder:
            values = PARTS[name](chosen.data, Path(folder), chosen.minutes)
        payload = {
            "part": name,
            "what": (PARTS[name].__doc__ or "").strip(),
            **values,
            "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "load_average_before_and_after": [before, os.getloadavg()],
            "versions": versions(),
        }
        with atomic_write(RESULTS / f"scale_{name}.json", "w") as file:
            file.write(json.dumps(payload, indent=2) + "\n")
        print(json.dumps(payload, indent=2, default=str))


if __name__ == "__main__":
    main()
