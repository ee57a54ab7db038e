"""The page that uploads nothing, beside the library: the same films through both, in a headless browser.

    python benchmarks/static_page.py --data DIR --page PAGE

PAGE is what ``lungcls page build -o PAGE`` wrote. Films of the test part are put into the page as files, and
given to ``lungcls.Pipeline`` too. Writes ``benchmarks/results/static_page.json`` and ``.csv``.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import lungcls
from lungcls.data import open_radiography, split_dataset
from lungcls.evaluation.results import write_results
from lungcls.versions import versions

RESULTS = Path(__file__).parent / "results"
# No sandbox: containers often run as root. The rest keeps the browser from calling home.
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
)
DONE = "(n) => document.querySelectorAll('.result.done, .result .problem').length >= n"


def find_chromium() -> str | None:
    """Path of a Chromium; None where there is none."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((each for each in found if each), None)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine, and yield its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def ask(page: Any, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Put films into an open page, one by one; return the JSON that it lets one download, or the problem."""
    answers = []
    for path in paths:
        page.set_input_files("#files", str(path))
        page.wait_for_function(DONE, arg=1)
        problem = page.locator(".problem[role=alert]")
        if problem.count():
            answers.append({"problem": problem.inner_text()})
        else:
            with page.expect_download() as download:
                page.get_by_role("button", name="Download JSON").click()
            answers.append(json.loads(Path(download.value.path()).read_text(encoding="utf-8")))
        page.locator(".remove").click()
    return answers


def compare(found: dict[str, Any], expected: Any) -> dict[str, Any]:
    """One film's row: how far the page's answer is from the library's."""
    likely, right = found["probabilities"], expected.probabilities
    reasons = [reason["name"] for reason in found["quality"]["reasons"]]
    return {
        "probability_difference": max(abs(likely[name] - right[name]) for name in right),
        "mask_area_difference": abs(found["mask_area"] - expected.quality.mask_area),
        "same_label": found["label"] == expected.label,
        "same_set": found["conformal_set"] == list(expected.conformal_set),
        "same_reasons": reasons == [reason.name for reason in expected.quality.reasons],
        "same_fallback": found["fallback"] == expected.fallback,
        "same_tier": found["tier"] == expected.tier,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of the radiography database, or one above it")
    parser.add_argument("--page", type=Path, required=True, help="folder that the page was built in")
    parser.add_argument("--count", type=int, default=50, help="films of the test part, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    dataset = open_radiography(options.data)
    split = split_dataset(dataset)
    test = split.select(dataset.records, "test")
    chosen = np.random.default_rng(options.seed).permutation(len(test))[: options.count]
    records = [test[place] for place in sorted(chosen)]
    paths = [dataset.path(record) for record in records]
    with served(options.page) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(SWITCHES))
        page = browser.new_page()
        page.set_default_timeout(120_000)
        started = time.perf_counter()
        page.goto(address)
        page.locator("#drop[data-ready]").wait_for()
        ready = time.perf_counter() - started
        ask(page, paths[:1])
        started = time.perf_counter()
        found = ask(page, paths)
        seconds = (time.perf_counter() - started) / len(paths)
        version = browser.version
        browser.close()
    pipeline = lungcls.Pipeline(device="cpu")
    rows = []
    for record, answer, expected in zip(records, found, pipeline.predict([str(path) for path in paths])):
        rows.append({"file": record.file, "label": record.label, **compare(answer, expected)})
    differences = [row["probability_difference"] for row in rows]
    summary = {
        "command": "python benchmarks/static_page.py --data DIR --page PAGE",
        "films": len(rows),
        "seed": options.seed,
        "split_hash": split.hash,
        "largest_probability_difference": max(differences),
        "median_probability_difference": float(np.median(differences)),
        "largest_mask_area_difference": max(row["mask_area_difference"] for row in rows),
        **{name: sum(row[name] for row in rows) for name in rows[0] if name.startswith("same_")},
        "fallback": sum(answer["fallback"] for answer in found),
        "page_megabytes": round(sum(path.stat().st_size for path in options.page.iterdir()) / 1e6, 1),
        "seconds_to_ready": round(ready, 1),
        "seconds_a_film": round(seconds, 2),
        "browser": f"Chromium {version}, headless, one thread",
        "device": "cpu",
        "versions": versions(),
    }
    write_results(RESULTS, "static_page", rows, summary)
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
