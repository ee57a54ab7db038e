"""The speed table: this package's engines beside what a user would write, in one run.

    python benchmarks/speed.py --data DIR [--int8 FOLDER] [--quick]

Every system runs in a process of its own; they take turns, round after round, so that a machine that grows
slower in between does so for all. FOLDER holds what
``lungcls export segmenter classifier-mask --format openvino --int8 --data DIR --out FOLDER`` wrote.

(a) the naive pair: segmentation-models-pytorch U-Net ResNet34 at 256 and torchvision DenseNet121 at 224,
fp32, eager, one image at a time. (b) torchxrayvision's DenseNet at 224, a classifier alone, where the
package is installed. (c) the bound: the operations of our two networks over this machine's measured rate of
matrix products in the same precision. Accuracy is that of each precision on the test part, beside torch in
fp32.

Writes ``benchmarks/results/speed.json`` and ``.csv``, with ``--quick`` only prints.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lungcls.evaluation.results import write_results
from lungcls.progress import bar
from lungcls.render.tables import format_table
from lungcls.versions import versions

RESULTS = Path(__file__).parent / "results"
WORKER = Path(__file__).parent / "speed_worker.py"
MODES = (("files", 1), ("files", 32), ("arrays", 1), ("arrays", 32))
REFERENCE = "lungcls, torch fp32"
COLD_START = {
    "lungcls": "import lungcls; lungcls.predict({file!r}, engine={engine!r}, device='cpu')",
    "naive": "import sys; sys.path.insert(0, {folder!r}); from speed_worker import naive_pair; "
    "next(naive_pair()([{file!r}], 1))",
}


class Worker:
    """A system in its own process, which answers one question at a time."""

    def __init__(self, system: dict[str, Any]) -> None:
        self.system = system
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._send(system)

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        """Send a question and wait for its answer."""
        self._send({"what": what, **details})
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.system['name']}: the process ended; its message is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()

    def _send(self, value: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()


def systems(int8: Path | None) -> list[dict[str, Any]]:
    """The rows of the table."""
    ours: list[dict[str, Any]] = []
    for engine, precision in (
        ("torch", "fp32"), ("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"),
    ):  # fmt: skip
        options = {"engine": engine, "precision": precision}
        ours.append({"name": f"lungcls, {engine} {precision}", "kind": "lungcls", "precision": precision,
                     "options": options})  # fmt: skip
    if int8:
        options = {
            "engine": "openvino",
            "segmenter": str(int8 / "segmenter-int8.xml"),
            "classifier": str(int8 / "classifier-mask-int8.xml"),
        }
        ours.append({"name": "lungcls, openvino int8", "kind": "lungcls", "precision": "int8",
                     "options": options})  # fmt: skip
    theirs = [{"name": "(a) naive pair, torch fp32", "kind": "naive"}]
    if find_spec("torchxrayvision"):
        theirs.append({"name": "(b) torchxrayvision, torch fp32", "kind": "torchxrayvision"})
    return [*theirs, *ours]


def cold_start(engine: str, file: str, repeats: int) -> float:
    """Median seconds from starting Python to the answer for one image, in a process that knows nothing."""
    kind = "naive" if engine == "naive" else "lungcls"
    code = COLD_START[kind].format(file=file, engine=engine, folder=str(WORKER.parent))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def table_row(
    system: dict[str, Any], answers: dict[tuple[str, int], list[dict[str, Any]]], bound: float | None
) -> dict[str, Any]:
    """Put the rounds of one system together."""
    row: dict[str, Any] = {"system": system["name"], "precision": system.get("precision", "fp32")}
    for (source, batch), rounds in answers.items():
        if not rounds:
            continue
        speed = statistics.median(one["images"] / one["seconds"] for one in rounds)
        row[f"images/s {source} {batch}"] = speed
        row[f"cpu ms {source} {batch}"] = 1e3 * statistics.median(
            one["cpu_seconds"] / one["images"] for one in rounds
        )
        if batch == 1 and source == "files":
            gaps = np.concatenate([one["gaps"] for one in rounds])
            row["p50 ms"], row["p95 ms"] = (1e3 * float(np.quantile(gaps, q)) for q in (0.5, 0.95))
    if bound:
        row["bound images/s"] = bound
        row["share of bound"] = row["images/s files 32"] / bound
    return row


def macro_f1(labels: list[str], truth: list[str]) -> float:
    """Mean of the F1 of the classes."""
    from sklearn.metrics import f1_score

    return float(f1_score(truth, labels, average="macro"))


def gpu_rows(device: str, batch: int, seconds: float) -> list[dict[str, Any]]:
    """Both networks on views that lie in the device's memory: eager and compiled, beside their bound."""
    import torch
    from speed_worker import operations

    from lungcls.classifier import Classifier
    from lungcls.models.runtime import normalise
    from lungcls.segmenter import Segmenter

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    def speed(call: Any, count: int) -> float:
        for _ in range(3):
            call()
        wait()
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            call()
            wait()
            done += count
        return done / (time.perf_counter() - start)

    stages = [
        stage.load(engine="torch", device=device)
        for stage in (Segmenter, Classifier)  # type: ignore[attr-defined]
    ]
    views = [
        torch.randint(0, 256, (batch, stage.card.input_size, stage.card.input_size), dtype=torch.uint8).to(
            device
        )
        for stage in stages
    ]
    needed = sum(operations().values())
    rows = []
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        square = torch.randn(8192 if device.startswith("cuda") else 1024, device=device)[None]
        square = square.expand(square.shape[1], -1).contiguous().to(dtype)
        matrix = speed(lambda square=square: square @ square, 1) * 2 * square.shape[0] ** 3
        for way in ("eager", "compiled"):
            modules = [torch.compile(stage.module) if way == "compiled" else stage.module for stage in stages]

            @torch.inference_mode()
            def both(modules: Any = modules, dtype: Any = dtype) -> None:
                kind = device.split(":")[0]
                for module, stage, batch_views in zip(modules, stages, views, strict=True):
                    with torch.autocast(kind, torch.bfloat16, enabled=dtype == torch.bfloat16):
                        module(normalise(batch_views, stage.card.mean, stage.card.std))

            found = speed(both, batch)
            rows.append({
                "system": f"lungcls networks on {device}, torch {precision} {way}",
                "precision": precision,
                f"images/s memory {batch}": found,
                "bound images/s": matrix / needed,
                "share of bound": found * needed / matrix,
            })  # fmt: skip
    return rows


def measure(options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run everything and return the table's rows and the payload."""
    from lungcls.data import open_radiography, split_dataset

    start = time.perf_counter()
    database = open_radiography(options.data)
    split = split_dataset(database, seed=0)
    records = split.select(database.records, "test")
    order = np.random.default_rng(options.seed).permutation(len(records))
    records = [records[index] for index in order]
    files = [str(database.path(record)) for record in records]
    shown = files[: options.images]

    machine = Worker({"name": "machine", "kind": "machine"})
    workers = [Worker(system) for system in systems(options.int8)]
    answers: dict[str, dict[tuple[str, int], list[dict[str, Any]]]] = {
        worker.system["name"]: {mode: [] for mode in MODES} for worker in workers
    }
    needed = machine.ask("operations")
    rates: dict[str, list[float]] = {"fp32": [], "bf16": [], "int8": []}
    steps = [
        (number, mode, worker) for number in range(options.rounds + 1) for mode in MODES for worker in workers
    ]
    for number, (source, batch), worker in bar(steps, len(steps), "measuring"):
        if worker is workers[0]:
            for precision, found in rates.items():
                seconds = 0.1 if options.quick else 0.3
                found.append(machine.ask("rate", precision=precision, seconds=seconds)["rate"])
        # Large batches need more images to be themselves; the naive pair is one at a time by definition.
        if worker.system["kind"] == "naive" and batch > 1:
            continue
        part = shown[: max(2 * batch, options.images // (1 if batch > 1 else 4))]
        if number == 0:
            part = part[: 2 * batch]  # warm-up: not kept
        answer = worker.ask("time", files=part, source=source, batch=batch)
        if number:
            answers[worker.system["name"]][source, batch].append(answer)

    best = {precision: max(found) for precision, found in rates.items()}
    total = sum(needed.values())
    rows = []
    for worker in workers:
        precision = worker.system.get("precision")
        bound = best[precision] / total if precision else None
        row = table_row(worker.system, answers[worker.system["name"]], bound)
        row["peak MiB"] = worker.ask("peak")["peak_mib"]
        rows.append(row)
    naive = rows[0]["images/s files 1"]
    for row in rows:
        row["times (a)"] = row.get("images/s files 32", row["images/s files 1"]) / naive

    judged = records[: options.accuracy]
    truth = [record.label for record in judged]
    masks = [str(database.root / record.mask) if record.mask else None for record in judged]
    reference: dict[str, Any] = {}
    for worker, row in zip(workers, rows, strict=True):
        if worker.system["kind"] != "lungcls" or not judged:
            continue
        found = worker.ask("accuracy", files=files[: len(judged)], masks=masks)
        row["macro-F1"], row["dice"] = macro_f1(found["labels"], truth), found["dice"]
        if worker.system["name"] == REFERENCE:
            reference = row
        row["macro-F1 change"] = row["macro-F1"] - reference["macro-F1"]
        row["dice change"] = row["dice"] - reference["dice"]

    fastest = max(
        (worker for worker in workers if worker.system["kind"] == "lungcls"),
        key=lambda worker: next(r["times (a)"] for r in rows if r["system"] == worker.system["name"]),
    )
    memory = fastest.ask("steady", files=files, count=options.memory_images, batch=32)
    for worker in (machine, *workers):
        worker.close()
    starts = {"(a) naive pair, torch fp32": "naive"} | {
        f"lungcls, {engine} fp32": engine for engine in ("torch", "onnxruntime", "openvino")
    }
    for row in rows:
        if row["system"] in starts:
            row["cold start s"] = cold_start(starts[row["system"]], files[0], 1 if options.quick else 3)

    import torch

    device = options.gpu or ("cuda" if torch.cuda.is_available() else None)
    if device:
        rows += gpu_rows(device, 256 if device.startswith("cuda") else 4, 0.2 if options.quick else 3)
    payload = {
        "seed": options.seed,
        "split_hash": split.hash,
        "part": "test",
        "images": {"timed": len(shown), "rounds": options.rounds, "judged": len(judged)},
        "operations": needed,
        "matrix_products": {"best": best, "all": rates},
        "steady_memory": {"system": fastest.system["name"], **memory},
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "machine": platform.machine(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "versions": versions(),
        "seconds": round(time.perf_counter() - start, 1),
        "rows": rows,
        "rounds": answers_to_plain(answers),
    }
    return rows, payload


def answers_to_plain(answers: dict[str, dict[tuple[str, int], list[dict[str, Any]]]]) -> dict[str, Any]:
    """The single rounds without the gaps between images, which are many."""
    return {
        name: {
            f"{source} {batch}": [
                {key: one[key] for key in ("images", "seconds", "cpu_seconds")} for one in found
            ]
            for (source, batch), found in modes.items()
        }
        for name, modes in answers.items()
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--int8", type=Path, help="folder of the int8 files; without it there is no such row")
    parser.add_argument("--images", type=int, default=128, help="images a round, in batches of 32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--accuracy", type=int, default=10**6, help="images of the test part to judge")
    parser.add_argument("--memory-images", type=int, default=10_000)
    parser.add_argument("--gpu", metavar="DEVICE", help="of the rows for a GPU; by default cuda, where it is")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the images")
    parser.add_argument("--quick", action="store_true", help="a minute instead of several; writes no results")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or LUNGCLS_DATA must name the folder that holds radiography")
    if options.quick:
        options.images, options.rounds = min(options.images, 64), 1
        options.accuracy, options.memory_images = min(options.accuracy, 64), min(options.memory_images, 320)
    rows, payload = measure(options)
    print(format_table(rows))
    memory = payload["steady_memory"]
    print(f"{memory['images']} images through {memory['system']}: peak {memory['peak_mib']:.0f} MiB")
    if not options.quick:
        for path in write_results(RESULTS, "speed", rows, payload):
            print(path)


if __name__ == "__main__":
    main()
