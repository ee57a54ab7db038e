"""What a run would take on clusters that nobody here has: measured times, put through a simulation."""

from __future__ import annotations

import heapq
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RESULTS = Path(__file__).parent / "results"

FILMS = 10_000_000
NODES = (1, 8, 64)
ROWS_PER_SHARD = 1024

ASSUMED: dict[str, Any] = {
    "workers_per_node": 8,
    "fetch_s": 0.05,
    "connections_per_worker": 32,
    "request_s": 0.03,
    "start_of_a_worker_s": 20.0,
    "spread_of_shard_times": 0.15,
    "stragglers": {"share_of_workers": 0.02, "times_slower": 3.0},
    "node_loss": {"mean_hours_between_losses_of_a_node": 500.0, "minutes_until_replaced": 10.0},
    "requests_per_shard": 6,
    "bucket_reads_per_s_and_prefix": 5500,
    "bucket_writes_per_s_and_prefix": 3500,
    "object_listing_per_request": 1000,
}
"""What was not measured here; each is a usual value of a cloud region."""


def model(data: Path, folder: Path, minutes: float) -> dict[str, Any]:
    """Ten million films on 1, 8 and 64 nodes, with stragglers and lost nodes; and what breaks first."""
    measured = _measured(folder)
    runs = [_simulate(nodes, measured) for nodes in NODES]
    alone = runs[0]["films_per_s"]
    for run in runs:
        run["share_of_linear"] = run["films_per_s"] / (alone * run["nodes"])
    return {
        "measured_here": measured,
        "assumed": {**ASSUMED, "rows_per_shard": ROWS_PER_SHARD, "films": FILMS},
        "runs": runs,
        "breaks_first": _limits(measured),
        "asked": "0.95 of linear to 8 nodes",
    }


def _measured(folder: Path) -> dict[str, float]:
    """Times of this machine: of a film by the result file of the rate, of books by doing them here."""
    speed = json.loads((RESULTS / "scale_rate.json").read_text(encoding="utf-8"))["run_films_per_s"]
    count = 1_000_000
    path = folder / "manifest.parquet"
    pq.write_table(
        pa.table({"uri": [f"s3://bucket/films/{number:09d}.png" for number in range(count)]}), path
    )
    from lungcls.scale.manifests import Manifest
    from lungcls.scale.shards import Claims, ShardFolder
    from lungcls.scale.sources import ManifestInput
    from lungcls.scale.storage import place

    began = time.perf_counter()
    shards = sum(1 for _ in ManifestInput(Manifest([place(path)]), ROWS_PER_SHARD).shards(set()))
    reading = count / (time.perf_counter() - began)
    claims = Claims(ShardFolder(str(folder / "out")), "start")
    began = time.perf_counter()
    for index in range(200):
        claims.claim(index)
    claiming = (time.perf_counter() - began) / 200
    return {
        "film_s_of_two_processors": 1 / speed,
        "manifest_rows_read_per_s": reading,
        "shards_of_a_million": shards,
        "local_claim_s": claiming,
    }


def _simulate(nodes: int, measured: dict[str, float]) -> dict[str, Any]:
    """Shards to free workers, one after the other, as Ray and the process pools hand them out."""
    random = np.random.default_rng(nodes)
    workers = nodes * ASSUMED["workers_per_node"]
    slow = random.random(workers) < ASSUMED["stragglers"]["share_of_workers"]
    factor = np.where(slow, ASSUMED["stragglers"]["times_slower"], 1.0)
    film = max(measured["film_s_of_two_processors"], ASSUMED["fetch_s"] / ASSUMED["connections_per_worker"])
    plain = ROWS_PER_SHARD * film + ASSUMED["requests_per_shard"] * ASSUMED["request_s"]
    spread = ASSUMED["spread_of_shard_times"]
    loss = ASSUMED["node_loss"]
    per_second = 1 / (loss["mean_hours_between_losses_of_a_node"] * 3600)
    free = [(ASSUMED["start_of_a_worker_s"], worker) for worker in range(workers)]
    heapq.heapify(free)
    lost = 0
    remaining = -(-FILMS // ROWS_PER_SHARD)
    # One reader gives shards to all: none begins before its rows are read.
    pace = ROWS_PER_SHARD / measured["manifest_rows_read_per_s"]
    given = 0
    end = 0.0
    while remaining:
        now, worker = heapq.heappop(free)
        now = max(now, given * pace)
        given += 1
        seconds = plain * factor[worker] * random.lognormal(-(spread**2) / 2, spread)
        if random.random() < seconds * per_second:
            # The node is gone in the middle of the shard, which another one does.
            lost += 1
            again = now + seconds / 2 + loss["minutes_until_replaced"] * 60 + ASSUMED["start_of_a_worker_s"]
            heapq.heappush(free, (again, worker))
            continue
        remaining -= 1
        end = max(end, now + seconds)
        heapq.heappush(free, (now + seconds, worker))
    return {
        "nodes": nodes,
        "workers": workers,
        "hours": end / 3600,
        "films_per_s": FILMS / end,
        "shards_lost_with_their_node": lost,
        "reads_per_s": FILMS / end,
        "writes_per_s": ASSUMED["requests_per_shard"] * FILMS / ROWS_PER_SHARD / end,
    }


def _limits(measured: dict[str, float]) -> dict[str, Any]:
    """Nodes at which each common part is full, and what a hundred million films ask of the books."""
    node = ASSUMED["workers_per_node"] / measured["film_s_of_two_processors"]
    shards = 100_000_000 // ROWS_PER_SHARD
    return {
        "nodes_that_one_manifest_reader_feeds": measured["manifest_rows_read_per_s"] / node,
        "nodes_that_one_prefix_of_a_bucket_feeds": ASSUMED["bucket_reads_per_s_and_prefix"] / node,
        "nodes_whose_shards_one_prefix_takes": ASSUMED["bucket_writes_per_s_and_prefix"]
        / (ASSUMED["requests_per_shard"] * node / ROWS_PER_SHARD),
        "at_100_million": {
            "shards": shards,
            "requests_to_list_them_at_each_start": shards // ASSUMED["object_listing_per_request"],
            "minutes_to_count_them_at_the_end_16_at_a_time": shards * 2 * ASSUMED["request_s"] / 16 / 60,
        },
    }
