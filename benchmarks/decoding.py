"""What it costs to decode compressed DICOM pixels in a process of their own, against a whole prediction.

    python benchmarks/decoding.py        # writes benchmarks/results/decoding.json

Predictions with the pixels decoded in this process and in one of their own take turns, and the middle of
each is taken. Times are those of the processor, of both processes together, so that a busy machine changes
them little.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

import lungcls
from lungcls import decoding, dicomgrey
from lungcls.phantom import chest_phantom
from lungcls.versions import versions

SIDE = 1024
RUNS = 25


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/results/decoding.json"))
    options = parser.parse_args()
    pipeline = lungcls.Pipeline(device="cpu")
    rows = []
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        file, data, decode = film(str(syntax))
        ways = {"here": decoding.decode_here, "apart": decoding.decode_apart}
        spent: dict[str, list[float]] = {
            f"{what}_{way}": [] for what in ("decode", "predict") for way in ways
        }
        for _ in range(RUNS + 1):
            for way, call in ways.items():
                spent[f"decode_{way}"].append(seconds(partial(call, str(syntax), data, decode)))
                dicomgrey.decode_apart = call
                spent[f"predict_{way}"].append(seconds(partial(pipeline.predict, file)))
        middle = {name: 1e3 * statistics.median(times[1:]) for name, times in spent.items()}
        rows.append(
            {
                "syntax": syntax.name,
                **{f"{name}_ms": round(value, 1) for name, value in middle.items()},
                "cost_percent": round(100 * (middle["predict_apart"] / middle["predict_here"] - 1), 2),
            }
        )
        print(rows[-1])
    result = {
        "side": SIDE,
        "runs": RUNS,
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "load": os.getloadavg()[0],
        "versions": versions(),
        "rows": rows,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def film(syntax: str) -> tuple[bytes, bytes, dict[str, Any]]:
    """Return a compressed film, its pixel data, and how to decode them."""
    noise = np.random.default_rng(0).integers(0, 8, (SIDE, SIDE))
    values = np.clip(chest_phantom(SIDE).image * 4080 + noise, 0, 4095).astype(np.uint16)
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    data.Rows = data.Columns = SIDE
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelData = values.tobytes()
    data["PixelData"].VR = "OW"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.compress(syntax)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    decode = {
        "rows": SIDE, "columns": SIDE, "samples_per_pixel": 1, "number_of_frames": 1, "bits_allocated": 16,
        "bits_stored": 12, "pixel_representation": 0, "photometric_interpretation": "MONOCHROME2",
        "pixel_keyword": "PixelData",
    }  # fmt: skip
    return buffer.getvalue(), data.PixelData, decode


def seconds(call: Any) -> float:
    """Return the time of the processor that a call takes, in this process and in its decoder's."""
    start = time.process_time() + helpers()
    call()
    return time.process_time() + helpers() - start


def helpers() -> float:
    """Seconds that the decoders' processes have worked, as Linux counts them to the nanosecond."""
    places = [Path(f"/proc/{worker._process.pid}/schedstat") for worker in decoding._IDLE]
    return sum(int(place.read_text(encoding="ascii").split()[0]) for place in places) / 1e9


if __name__ == "__main__":
    main()
