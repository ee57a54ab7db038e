"""An S3 bucket on loopback that fails, throttles and dawdles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("moto", reason="the extra 'test' is not installed")
pytest.importorskip("s3fs", reason="the extra 'test' is not installed")

SCRIPT = """
import json, sys
import lungcls.scale as scale
if __name__ == "__main__":
    words = json.loads(sys.argv[1])
    report = scale.run(words.pop("inputs"), words.pop("out"), **words)
    rows = scale.query(report.folder, "SELECT shard, row, uri, label, error_kind FROM results ORDER BY ALL")
    print(json.dumps([report.counts.to_dict(), rows.to_pylist()]))
"""


def run(script: Path, endpoint: str, key: str = "test", **words: Any) -> subprocess.CompletedProcess[str]:
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        "FSSPEC_S3_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": "test",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    words = {"rows_per_shard": 8, "workers": 1, **words}
    command = [sys.executable, str(script), json.dumps(words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_bucket_that_fails_and_dawdles_costs_nothing_but_time(
    films: list[str],
    options: dict[str, Any],
    benchmark_script: Callable[[str], ModuleType],
    tmp_path: Path,
) -> None:
    import boto3

    with benchmark_script("flaky_bucket").flaky_bucket(errors=0.1, slow=0.1, delay=0.2) as (endpoint, flaky):
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=endpoint, **keys)
        lines = []
        for number in range(40):
            client.upload_file(films[number % 10], "films", f"in/{number:02d}.png")
            lines.append(f"s3://films/in/{number:02d}.png\n")
        lines[3] = "s3://films/in/gone.png\n"
        lines[4] = "s3://no-such-bucket/a.png\n"
        client.put_object(Bucket="films", Key="m.csv", Body=("uri\n" + "".join(lines)).encode())
        flaky.counts.clear()
        words = {"inputs": ["s3://films/m.csv"], "out": "s3://films/out", **options}
        result = run(tmp_path / "script.py", endpoint, **words)
        assert result.returncode == 0, result.stderr
        counts, rows = json.loads(result.stdout.splitlines()[-1])
        assert flaky.counts["errors"] > 5
        assert flaky.counts["slow"] > 5
        assert counts["errors"] == {"FilmError": 2}
        assert [row["row"] for row in rows] == list(range(40))
        assert [row["uri"] for row in rows] == [line.strip() for line in lines]
        names = [entry["Key"] for entry in client.list_objects_v2(Bucket="films", Prefix="out")["Contents"]]
        assert names == ["out/run.json", *(f"out/shards/part-{index:08d}.parquet" for index in range(5))]
        # A bucket that is not there for the output: one clear error.
        refused = run(tmp_path / "script.py", endpoint, **{**words, "out": "s3://not-ours/out"})
        assert refused.returncode == 1
        assert "StorageError: s3://not-ours/out" in refused.stderr
