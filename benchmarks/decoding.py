"""What it costs to decode compressed DICOM pixels in a process of their own, against a whole prediction.

    python benchmarks/decoding.py        # writes benchmarks/results/decoding.json

Times are those of the processor, of both processes together, so that a busy machine does not change them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

import lungcls
from lungcls import decoding
from lungcls.phantom import chest_phantom

SIDE = 1024
RUNS = 10


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
        here = seconds(partial(decoding.decode_here, str(syntax), data, decode))
        apart = seconds(partial(decoding.decode_apart, str(syntax), data, decode))
        whole = seconds(partial(pipeline.predict, file))
        rows.append(
            {
                "syntax": syntax.name,
                "here_ms": round(1e3 * here, 1),
                "apart_ms": round(1e3 * apart, 1),
                "predict_ms": round(1e3 * whole, 1),
                "cost_percent": round(100 * (apart - here) / whole, 2),
            }
        )
        print(rows[-1])
    result = {"side": SIDE, "runs": RUNS, "threads": os.environ.get("OMP_NUM_THREADS", ""), "rows": rows}
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
    call()
    start = time.process_time() + helpers()
    for _ in range(RUNS):
        call()
    return (time.process_time() + helpers() - start) / RUNS


def helpers() -> float:
    total = 0.0
    for worker in decoding._IDLE:
        fields = (
            Path(f"/proc/{worker._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        )
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


if __name__ == "__main__":
    main()
