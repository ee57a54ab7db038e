"""Commands killed, or out of disk space, at random moments and run again: what is lost, what is left over.

    python benchmarks/kills.py [--commands predict train ...] [--moments 20] [--disks 20]

Everything runs on phantoms with small untrained networks, by the command line, in a folder of its own. Two
unbroken runs tell which values differ by themselves (times, dates); all others must be those of the unbroken
run after SIGKILL at `--moments` moments: half of them drawn over the time that a run takes, half of them at a
change of the output folder, where files are being written. After each kill every file under a final name is
opened. Then the same on a small disk (a tmpfs, for which one must be root), which is enlarged afterwards.
Writes ``benchmarks/results/kills.json`` and ``.csv``: one row a command.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from safetensors import safe_open
from scale import small_networks

from lungcls.evaluation.results import write_results
from lungcls.files import PARTIAL
from lungcls.labels import CLASSES
from lungcls.phantom import chest_phantom
from lungcls.render.tables import format_table
from lungcls.versions import versions

RESULTS = Path(__file__).parent / "results"
FILMS = 22  # of each class, as many as a split needs
SIDE = 64
PATIENCE = 600  # seconds
RECIPE = """
name = "tiny"
task = "classification"
input_size = 32
loss = "cross_entropy"
augmentation = "none"
batch_size = 16
learning_rate = 5e-3
balance = "class_weights"
segmenter = "{segmenter}"
stages = [{{ size = 32, epochs = 4 }}]
[model]
model = "densenet"
growth = 4
blocks = [1, 1, 1, 1]
stem = 8
[region]
name = "full"
"""
COMMANDS: dict[str, str] = {
    "predict": "predict data -o out --segmenter {segmenter} --classifier {classifier} --gate none "
    "--formats coco,csv --batch-size 4",
    "train": "train recipe.toml --data data -o out --workers 0",
    "calibrate": "calibrate {classifier} --data data -o out --segmenter {segmenter} --part all "
    "--resamples 50",
    "export": "export {segmenter} {classifier} -o out",
    "split": "data split --data data -o out/split.csv",
    "audit": "data audit --data data -o out/audit.json",
    "ablate": "ablate --data data -o out --recipe recipe.toml --arms full,mask --seeds 1 --epochs 1 "
    "--resamples 50 --workers 0",
    "report": "report {classifier} --data data -o out --segmenter {segmenter} --part all --resamples 50",
    "shortcuts": "shortcuts {classifier} --data data -o out --segmenter {segmenter} --part all "
    "--checks robustness,leakage --resamples 50 --limit 6",
}
"""What is run, by name; names in brackets stand for weights."""


def prepare(folder: Path) -> dict[str, str]:
    """Draw films in folders by class, make networks and a recipe; return what stands for the weights."""
    for place, label in enumerate(CLASSES):
        for number in range(FILMS):
            path = folder / "data" / label / "images" / f"{label}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            film = chest_phantom(SIDE, seed=100 * place + number).image
            Image.fromarray(np.rint(film * 255).astype(np.uint8)).save(path)
    networks = small_networks(folder)
    names = {stage: networks[stage] for stage in ("segmenter", "classifier")}
    (folder / "recipe.toml").write_text(RECIPE.format(**names))
    return names


def start(command: str, names: dict[str, str], folder: Path, out: Path) -> subprocess.Popen[str]:
    """Start a command whose folder `out` is a link to `out`, so that all runs have the same words."""
    link = folder / "out"
    link.unlink(missing_ok=True)
    out.mkdir(exist_ok=True)
    link.symlink_to(out)
    return subprocess.Popen(
        [sys.executable, "-m", "lungcls", *command.format(**names).split()],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LUNGCLS_CACHE": str(out.parent / "cache"),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a command; return its exit code and what it said."""
    said = process.communicate(timeout=PATIENCE)[1]
    return process.returncode, said


def state(folder: Path) -> tuple[tuple[str, int], ...]:
    """Names and sizes of all files below a folder, to see that something changes."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found.append((name, os.stat(os.path.join(place, name)).st_size))
            except OSError:  # gone in between
                continue
    return tuple(sorted(found))


def changes(process: subprocess.Popen[str], folder: Path) -> Iterator[int]:
    """Count the changes of a folder while a process runs."""
    before, count = state(folder), 0
    while process.poll() is None:
        now = state(folder)
        if now != before:
            before, count = now, count + 1
            yield count
        time.sleep(0.001)


def content(folder: Path) -> dict[str, Any]:
    """All values of all files: of JSON and CSV each by its place, of all others the hash."""
    values: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        data = path.read_bytes()
        if path.suffix == ".json":
            values |= {f"{name}#{place}": value for place, value in flat(json.loads(data))}
        elif path.suffix == ".csv":
            rows = list(csv.reader(io.StringIO(data.decode())))
            values |= {f"{name}#{i}.{j}": cell for i, row in enumerate(rows) for j, cell in enumerate(row)}
        else:
            values[name] = hashlib.sha256(data).hexdigest()
    return values


def flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a JSON value with the way to each."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from flat(inner, f"{place}.{number}")
    else:
        yield place, value


def unlike(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    """The places at which two runs differ."""
    return {place for place in {*first, *second} if first.get(place) != second.get(place)}


def broken(folder: Path) -> list[str]:
    """The files under a final name that cannot be opened; what starts with a dot is nobody's final name."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".png":
                with Image.open(path) as picture:
                    picture.load()
            elif path.suffix == ".safetensors":
                with safe_open(path, "np") as tensors:
                    tensors.keys()
            elif path.suffix in (".ckpt", ".npz"):
                with zipfile.ZipFile(path) as archive:
                    archive.testzip()
            elif path.suffix == ".csv" and not path.read_bytes().endswith(b"\n"):
                found.append(f"{path.name} (no end)")
        except Exception as error:  # whatever a damaged file makes of its reader
            found.append(f"{path.name} ({type(error).__name__})")
    return found


def partial(folder: Path) -> list[str]:
    """What a killed run left and the finished one did not take away."""
    return [path.name for path in folder.rglob("*") if PARTIAL.fullmatch(path.name)]


def unbroken(name: str, names: dict[str, str], folder: Path) -> dict[str, Any]:
    """Run a command twice; return its values, those that differ by themselves, seconds and changes."""
    runs, seconds, steps = [], 0.0, 1
    for number in range(2):
        out = folder / f"{name}-whole-{number}" / "out"
        out.parent.mkdir()
        began = time.monotonic()
        process = start(COMMANDS[name], names, folder, out)
        steps = max((steps, *changes(process, out)))
        code, said = finished(process)
        if code:
            raise SystemExit(f"{name} ended with {code}: {said[-500:]}")
        seconds = time.monotonic() - began
        runs.append(content(out))
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return {"values": runs[0], "own": unlike(*runs), "seconds": seconds, "steps": steps, "bytes": size}


def killed(
    name: str, names: dict[str, str], folder: Path, whole: dict[str, Any], count: int, choice: random.Random
) -> dict[str, Any]:
    """Kill a command `count` times, each time start it again, and compare what comes out in the end."""
    place = folder / f"{name}-killed"
    kills = ends = 0
    faults: list[str] = []
    while True:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        out = place / "out"
        while True:
            process = start(COMMANDS[name], names, folder, out)
            if kills < count:
                if choice.random() < 0.5:
                    due, step = choice.uniform(0, whole["seconds"]), None
                else:
                    due, step = whole["seconds"] * 5, choice.randint(1, whole["steps"])
                _kill(process, out, due, step)
            code, said = finished(process)
            faults += [f"half a file: {one}" for one in broken(out)]
            if code != -signal.SIGKILL:
                break
            kills += 1
        ends += 1
        if code:
            faults.append(f"ended with {code}: {said[-300:]}")
        else:
            differ = unlike(whole["values"], content(out)) - whole["own"]
            faults += [f"differs: {one}" for one in sorted(differ)[:5]]
            faults += [f"left over: {one}" for one in partial(out)]
        if kills >= count or faults:
            return {"kills": kills, "ends": ends, "faults": sorted(set(faults))}


def _kill(process: subprocess.Popen[str], out: Path, due: float, step: int | None) -> None:
    """Kill a process at a moment or at a change of its folder, and see that its children end too."""
    children: list[psutil.Process] = []
    began = time.monotonic()
    steps = changes(process, out) if step is not None else iter(())
    while process.poll() is None and time.monotonic() - began < due:
        if step is not None and next(steps, step) >= step:
            break
        time.sleep(0.001)
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    if alive:
        raise SystemExit(f"{[one.cmdline() for one in alive]} outlived a killed run")


def full(
    name: str, names: dict[str, str], folder: Path, whole: dict[str, Any], count: int, choice: random.Random
) -> dict[str, Any]:
    """Run a command on disks too small for it, enlarge them, and run it again."""
    faults: list[str] = []
    ran_out = 0
    for _ in range(count):
        pages = choice.randint(2, max(3, int(whole["bytes"] / 4096 * 1.1)))
        with small_disk(folder / "disk", pages * 4096) as (disk, enlarge):
            out = disk / "out"
            code, said = finished(start(COMMANDS[name], names, folder, out))
            faults += [f"half a file: {one}" for one in broken(out)]
            if "Traceback" in said:
                faults.append(f"traceback: {said.strip().splitlines()[-1][:200]}")
            if code:
                ran_out += 1
                if "space" not in said:
                    faults.append(f"says nothing of the disk: {said[-200:]}")
                enlarge()
                code, said = finished(start(COMMANDS[name], names, folder, out))
            if code:
                faults.append(f"the second run ended with {code}: {said[-200:]}")
                continue
            differ = unlike(whole["values"], content(out)) - whole["own"]
            faults += [f"differs: {one}" for one in sorted(differ)[:5]]
            faults += [f"left over: {one}" for one in partial(out)]
    return {"disks": count, "ran_out": ran_out, "faults": sorted(set(faults))}


def may_mount(folder: Path) -> bool:
    """Whether this user may make a disk, which root of a container often may not."""
    try:
        with small_disk(folder / "disk", 1 << 16):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[tuple[Path, Any]]:
    """A disk of so many bytes, and what enlarges it."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield (
            place,
            lambda: subprocess.run(["mount", "-o", "remount,size=1g", str(place)], check=True),
        )
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def main() -> None:
    """Break the commands and write what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--disks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="kills", help="stem of the result files")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        names = prepare(folder)
        for name in options.commands:
            choice = random.Random(f"{options.seed} {name}")
            whole = unbroken(name, names, folder)
            row: dict[str, Any] = {
                "command": name,
                "seconds_unbroken": round(whole["seconds"], 1),
                "files_and_values": len(whole["values"]),
                "differ_by_themselves": len(whole["own"]),
            }
            of_kills = killed(name, names, folder, whole, options.moments, choice)
            row |= {"kills": of_kills["kills"], "ends": of_kills["ends"]}
            of_disks: dict[str, Any] = {"disks": 0, "ran_out": 0, "faults": []}
            if options.disks and may_mount(folder):
                of_disks = full(name, names, folder, whole, options.disks, choice)
            row |= {"disks": of_disks["disks"], "ran_out": of_disks["ran_out"]}
            row["faults"] = "; ".join([*of_kills["faults"], *of_disks["faults"]])
            print(json.dumps(row), flush=True)
            rows.append(row)
            payload = {
                "command": "python benchmarks/kills.py",
                "seed": options.seed,
                "device": "cpu",
                "films": f"{len(CLASSES) * FILMS} phantoms of {SIDE} x {SIDE} pixels (lungcls.phantom)",
                "cores": os.cpu_count(),
                "versions": versions(),
                "duration_seconds": round(time.monotonic() - began),
                "rows": rows,
            }
            write_results(RESULTS, options.name, rows, payload)
    print(format_table(rows))
    sys.exit(int(any(row["faults"] for row in rows)))


if __name__ == "__main__":
    main()
