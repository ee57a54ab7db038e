"""Damaged and hostile input to everything that reads: an answer or an error of lungcls, in time and memory.

    python scripts/fuzz.py                          # 100,000 cases, some of each target
    python scripts/fuzz.py --cases 500 --seed 7     # a short run
    python scripts/fuzz.py --guided 600 --targets reader   # guided by coverage, with atheris

Each case is made from a seed and its number, and so is each repeated by `--targets T --first N --cases 1`.
Cases run in processes of their own, whose memory is bounded to 1 GiB more than they start with; one that
crashes or hangs is recorded, and the run goes on. Figures are written to `benchmarks/results/fuzz.json`.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 2.0
"""Time of the processor that a case may take."""

MEMORY = 1 << 30
HANG = 60
CHUNK = 500
INTERESTING = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFE,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)


# --- seeds ----------------------------------------------------------------------------------------


@cache
def grey() -> np.ndarray:
    from lungcls.phantom import chest_phantom

    return np.rint(chest_phantom((48, 40), seed=1).image * 255).astype(np.uint8)


def rasters() -> list[bytes]:
    from PIL import Image

    grey8 = Image.fromarray(grey())
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(grey().astype(np.uint16) * 257)
    compressions = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    saved: list[tuple[Any, str, dict[str, Any]]] = [
        (grey8, "PNG", {}), (grey8.convert("RGB"), "PNG", {"exif": exif}),
        (grey8.convert("P"), "PNG", {"transparency": 3}),
        (deep, "PNG", {}), (grey8.convert("LA"), "PNG", {"dpi": (100, 200)}), (grey8.convert("1"), "PNG", {}),
        (grey8, "JPEG", {"exif": exif}), (grey8.convert("RGB"), "JPEG", {"progressive": True}),
        (grey8.convert("CMYK"), "JPEG", {}), (grey8, "BMP", {}), (grey8.convert("1"), "BMP", {}),
        (grey8.convert("RGB"), "WEBP", {}), (grey8.convert("RGBA"), "WEBP", {"lossless": True}),
        (deep, "TIFF", {}), (Image.fromarray(grey() / np.float32(255)), "TIFF", {}),
        *((grey8, "TIFF", {"compression": name}) for name in compressions),
        (grey8.convert("1"), "TIFF", {"compression": "group4"}), (grey8, "GIF", {}),
    ]  # fmt: skip
    files = []
    for picture, kind, options in saved:
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        files.append(buffer.getvalue())
    return files


def dicoms() -> list[bytes]:
    import pydicom
    from PIL import Image
    from pydicom import uid
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate

    def scan(values: np.ndarray, **tags: Any) -> Dataset:
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
        data.Rows, data.Columns = values.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = 8 * values.itemsize
        data.BitsStored = 12 if values.itemsize == 2 else 8
        data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
        data.PixelData = values.tobytes()
        data["PixelData"].VR = "OW" if values.itemsize == 2 else "OB"
        for key, value in tags.items():
            setattr(data, key, value)
        return data

    def saved(data: Dataset, syntax: str) -> bytes:
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, data, enforce_file_format=True)
        return buffer.getvalue()

    deep = grey().astype(np.uint16) * 16
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [256, 0, 16], list(range(0, 4096, 16))
    lut["LUTDescriptor"].VR = lut["LUTData"].VR = "US"
    inner = Dataset()
    inner.PatientID = "1"
    for _ in range(20):
        outer = Dataset()
        outer.ReferencedImageSequence = [inner]
        inner = outer
    files = [
        saved(scan(grey()), uid.ImplicitVRLittleEndian),
        saved(scan(deep, WindowCenter=[2000, 3], WindowWidth=[4000, 2]), uid.ExplicitVRLittleEndian),
        saved(scan(deep, RescaleSlope=2, RescaleIntercept=-5), uid.DeflatedExplicitVRLittleEndian),
        saved(scan(grey(), VOILUTSequence=[lut], PixelPaddingValue=0), uid.ExplicitVRLittleEndian),
        saved(scan(grey(), ReferencedImageSequence=[inner]), uid.ExplicitVRLittleEndian),
    ]
    bare = io.BytesIO()
    pydicom.dcmwrite(bare, scan(grey()), implicit_vr=True, little_endian=True)
    files.append(bare.getvalue())
    swapped = scan(deep.astype(">u2"))
    files.append(saved(swapped, uid.ExplicitVRBigEndian))
    for syntax in (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless):
        data = pydicom.dcmread(io.BytesIO(saved(scan(deep), uid.ExplicitVRLittleEndian)))
        data.compress(syntax)
        files += [saved(data, syntax)] * 2
    for lossless, syntax in ((False, uid.JPEGBaseline8Bit), (True, uid.JPEG2000)):
        buffer = io.BytesIO()
        Image.fromarray(grey()).save(buffer, "JPEG2000" if lossless else "JPEG")
        data = scan(grey())
        data.PixelData = encapsulate([buffer.getvalue()])
        data["PixelData"].is_undefined_length = True
        files.append(saved(data, syntax))
    return files


@cache
def images() -> list[bytes]:
    return [*rasters(), *dicoms()]


# --- mutations ------------------------------------------------------------------------------------


def mutated(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """Damage bytes in one to six places."""
    damaged = bytearray(data)
    for _ in range(int(rng.integers(1, 7))):
        if not damaged:
            break
        at = int(rng.integers(len(damaged)))
        # Headers decide more than pixels do.
        at = at if rng.random() < 0.5 else at % min(len(damaged), 600)
        kind = int(rng.integers(8))
        length = int(rng.integers(1, 40))
        if kind == 0:
            damaged[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            damaged[at] = int(rng.integers(256))
        elif kind == 2:
            del damaged[at : at + length]
        elif kind == 3:
            damaged[at:at] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
        elif kind == 4:
            damaged[at:at] = damaged[at : at + length] * int(rng.integers(1, 50))
        elif kind == 5:
            other = others[int(rng.integers(len(others)))]
            start = int(rng.integers(max(1, len(other))))
            damaged[at : at + length] = other[start : start + length]
        elif kind == 6:
            number = INTERESTING[int(rng.integers(len(INTERESTING)))]
            width, order = [(2, "<H"), (2, ">H"), (4, "<I"), (4, ">I")][int(rng.integers(4))]
            damaged[at : at + width] = struct.pack(order, number & ((1 << 8 * width) - 1))
        elif rng.random() < 0.3:
            del damaged[at:]
    return bytes(damaged)


def bomb(rng: np.random.Generator) -> bytes:
    """A small file that asks for much."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    side = int(rng.choice([9_000, 30_000, 65_535, 2**31 - 1]))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    zeros = zlib.compress(bytes(30 << 20), 9)
    kind = int(rng.integers(4))
    if kind == 0:
        return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zeros) + chunk(b"IEND", b"")
    if kind == 1:
        small = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
        text = chunk(b"zTXt", b"key\0\0" + zeros) + chunk(b"iCCP", b"name\0\0" + zeros)
        return b"\x89PNG\r\n\x1a\n" + small + text + chunk(b"IDAT", zeros) + chunk(b"IEND", b"")
    plain = dicoms_cached()[2]
    start = 132 + 12 + struct.unpack("<I", plain[140:144])[0]
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    if kind == 2:
        body = (
            bytes(160 << 20) if rng.random() < 0.5 else struct.pack("<HH2sH", 9, 0x1010, b"LO", 0) * (1 << 20)
        )
    else:
        body = struct.pack("<HH2sHIHHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF) * 20_000
    return plain[:start] + deflate.compress(body) + deflate.flush()


@cache
def dicoms_cached() -> list[bytes]:
    return dicoms()


# --- targets --------------------------------------------------------------------------------------


def reader_case(rng: np.random.Generator) -> bytes:
    if rng.random() < 0.002:
        return bomb(rng)
    seeds = images()
    return mutated(seeds[int(rng.integers(len(seeds)))], rng, seeds)


def read_image_bytes(data: bytes, folder: Path) -> None:
    from lungcls.images import read_image

    pixels = read_image(data).pixels
    assert pixels.dtype == np.float32
    assert np.isfinite(pixels).all()
    assert 0 <= pixels.min() < pixels.max() <= 1


def mask_case(rng: np.random.Generator) -> bytes:
    seeds = rasters_cached()
    return mutated(seeds[int(rng.integers(len(seeds)))], rng, seeds)


@cache
def rasters_cached() -> list[bytes]:
    return rasters()


def read_mask_bytes(data: bytes, folder: Path) -> None:
    from lungcls.data.masks import read_mask

    (folder / "mask.png").write_bytes(data)
    assert read_mask(folder / "mask.png").dtype == np.bool_


def text_case(texts: Callable[[], list[bytes]]) -> Callable[[np.random.Generator], bytes]:
    def make(rng: np.random.Generator) -> bytes:
        seeds = texts()
        return mutated(seeds[int(rng.integers(len(seeds)))], rng, seeds)

    return make


@cache
def cards() -> list[bytes]:
    from lungcls.weights import find_weights, released

    return [find_weights(name).with_suffix(".json").read_bytes() for name in released()]


def read_card(data: bytes, folder: Path) -> None:
    from lungcls.weights import load_card

    (folder / "net.json").write_bytes(data)
    (folder / "net.safetensors").write_bytes(b"")
    load_card(folder / "net.safetensors")


@cache
def recipes() -> list[bytes]:
    import lungcls.recipes

    return [path.read_bytes() for path in sorted(Path(lungcls.recipes.__file__).parent.rglob("*.toml"))]


def read_recipe(data: bytes, folder: Path) -> None:
    from lungcls.recipes import load_recipe

    (folder / "recipe.toml").write_bytes(data)
    load_recipe(folder / "recipe.toml")


@cache
def lists() -> list[bytes]:
    rows = [("p1", "a.png", "COVID", "x"), ("p2", "b.png", "Normal", "y"), ("p3", "c d.png", "Normal", "z")]
    texts = [
        "\n".join(sign.join(row[first:last]) for row in rows)
        for sign in " ,;\t"
        for first, last in ((0, 4), (1, 3))
    ]
    return [text.encode() for text in texts] + [texts[2].encode("utf-16"), texts[4].encode("utf-8-sig")]


def pictured(folder: Path) -> None:
    for name in ("a.png", "b.png", "c d.png"):
        if not (folder / name).exists():
            (folder / name).write_bytes(rasters_cached()[0])


def read_list_file(data: bytes, folder: Path) -> None:
    from lungcls.data import ImageLists

    pictured(folder)
    (folder / "train.csv").write_bytes(data)
    ImageLists(folder, lists=[folder / "train.csv"])


@cache
def manifests() -> list[bytes]:
    rows = [
        "file,label,mask,group",
        "a.png,COVID,b.png,1",
        '"c d.png",Normal,,2',
        "./b.png,Viral Pneumonia,,",
    ]
    return ["\n".join(rows).encode(), "\r\n".join(rows).replace(",", ";").encode("utf-16")]


def read_manifest(data: bytes, folder: Path) -> None:
    from lungcls.data import RadiographyDatabase

    pictured(folder)
    (folder / "manifest.csv").write_bytes(data)
    RadiographyDatabase(folder)


@cache
def forms() -> list[bytes]:
    part = b'--xx\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n'
    part += b"Content-Type: image/png\r\n\r\n"
    field = b'--xx\r\nContent-Disposition: form-data; name="region"\r\n\r\nmask\r\n'
    return [part + rasters_cached()[0] + b"\r\n" + field + b"--xx--\r\n", field * 3 + part + b"\r\n--xx--"]


def read_form(data: bytes, folder: Path) -> None:
    from lungcls.web.multipart import FormReader
    from lungcls.web.problems import Problem

    try:
        reader = FormReader("multipart/form-data; boundary=xx", 4)
        for start in range(0, len(data), 97):
            reader.write(data[start : start + 97])
        reader.close()
    except Problem:
        return


TARGETS: dict[str, tuple[Callable[[np.random.Generator], bytes], Callable[[bytes, Path], None], float]] = {
    "reader": (reader_case, read_image_bytes, 0.7),
    "masks": (mask_case, read_mask_bytes, 0.05),
    "cards": (text_case(cards), read_card, 0.05),
    "recipes": (text_case(recipes), read_recipe, 0.05),
    "lists": (text_case(lists), read_list_file, 0.05),
    "manifests": (text_case(manifests), read_manifest, 0.05),
    "multipart": (text_case(forms), read_form, 0.05),
}
"""Name, maker of a case, what reads it, and the share of all cases."""


# --- runs -----------------------------------------------------------------------------------------


def run_case(target: str, data: bytes, folder: Path) -> str:
    """Return what came of one case: ``answered``, ``refused``, or what went wrong."""
    from lungcls.errors import LungclsError

    start = time.process_time()
    try:
        TARGETS[target][1](data, folder)
        result = "answered"
    except LungclsError as error:
        text = str(error)
        result = "refused" if text and "\n" not in text[:200] else "an error without words"
    except BaseException as error:  # what must not come
        result = f"{type(error).__module__}.{type(error).__name__}: {str(error)[:200]}"
    if time.process_time() - start > SECONDS:
        result = f"slow: {time.process_time() - start:.1f} s ({result})"
    return result


def run_chunk(target: str, seed: int, first: int, count: int) -> None:
    """Run cases in this process; each is announced before and its result told after, as lines on stdout."""
    import logging

    logging.disable(logging.CRITICAL)
    make = TARGETS[target][0]
    make(np.random.default_rng(0))  # imports and seeds, before memory is bounded
    with tempfile.TemporaryDirectory() as name:
        run_case(target, make(np.random.default_rng(1)), Path(name))
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, resource.RLIM_INFINITY))
        slowest = 0.0
        for number in range(first, first + count):
            data = make(np.random.default_rng([seed, number]))
            print(f"case {number}", flush=True)
            signal.alarm(HANG)
            start = time.process_time()
            result = run_case(target, data, Path(name))
            signal.alarm(0)
            slowest = max(slowest, time.process_time() - start)
            print(json.dumps([number, result]), flush=True)
    print(json.dumps({"slowest": slowest}), flush=True)


def run(target: str, seed: int, first: int, count: int) -> dict[str, Any]:
    """Run cases in child processes and return counts and failures."""
    counts: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    slowest, at = 0.0, first
    while at < first + count:
        number = min(CHUNK, first + count - at)
        command = [sys.executable, __file__, "--chunk", target, str(seed), str(at), str(number)]
        output = subprocess.run(command, capture_output=True, text=True, check=False)
        current = at - 1
        for line in output.stdout.splitlines():
            if line.startswith("case "):
                current = int(line[5:])
            elif line.startswith("["):
                place, result = json.loads(line)
                counts[result if result in ("answered", "refused") else "failed"] += 1
                if result not in ("answered", "refused"):
                    failures.append({"case": place, "result": result})
            elif line.startswith("{"):
                slowest = max(slowest, json.loads(line)["slowest"])
        if output.returncode:
            counts["failed"] += 1
            said = output.stderr.strip().splitlines()
            failures.append({"case": current, "result": f"died with {output.returncode}: {said[-1:]}"})
            at = current + 1 if current >= at else at + number
        else:
            at += number
    return {"cases": count, **counts, "slowest_seconds": round(slowest, 2), "failures": failures[:50]}


def guided(target: str, seconds: int, corpus: Path) -> dict[str, Any]:
    """Let atheris look for cases that reach new code; a failure ends it, and is told."""
    corpus.mkdir(parents=True, exist_ok=True)
    make = TARGETS[target][0]
    for number in range(60):
        (corpus / f"seed-{number}").write_bytes(make(np.random.default_rng([0, number])))
    command = [sys.executable, __file__, "--atheris", target, str(corpus), f"-max_total_time={seconds}"]
    output = subprocess.run(
        [*command, "-rss_limit_mb=2560", "-timeout=20"], capture_output=True, text=True, check=False
    )
    lines = output.stderr.splitlines()
    last = next((line for line in reversed(lines) if "cov:" in line), "")
    said = [line for line in lines if "Uncaught" in line or "Error" in line or "SUMMARY" in line][:5]
    return {"seconds": seconds, "last": last.strip(), "failed": bool(output.returncode), "said": said}


def run_atheris(target: str, corpus: str, options: list[str]) -> None:
    import logging

    import atheris

    with atheris.instrument_imports(include=["lungcls", "pydicom", "PIL"]):
        import lungcls.data
        import lungcls.images
        import lungcls.recipes
        import lungcls.web.multipart
        import lungcls.weights  # noqa: F401
    logging.disable(logging.CRITICAL)
    from lungcls.errors import LungclsError

    folder = Path(tempfile.mkdtemp())

    def once(data: bytes) -> None:
        try:
            TARGETS[target][1](data, folder)
        except LungclsError:
            return

    atheris.Setup([sys.argv[0], *options, corpus], once)
    atheris.Fuzz()


def main() -> None:
    if sys.argv[1:2] == ["--chunk"]:
        target, seed, first, count = sys.argv[2:6]
        run_chunk(target, int(seed), int(first), int(count))
        return
    if sys.argv[1:2] == ["--atheris"]:
        run_atheris(sys.argv[2], sys.argv[3], sys.argv[4:])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--cases", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each target")
    parser.add_argument(
        "--guided", type=int, metavar="SECONDS", help="guided by coverage (atheris), a target"
    )
    parser.add_argument("--corpus", type=Path, default=Path(tempfile.gettempdir()) / "lungcls-fuzz")
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/results/fuzz.json"))
    options = parser.parse_args()
    results: dict[str, Any] = {}
    shares = sum(TARGETS[name][2] for name in options.targets)
    start = time.time()
    for name in options.targets:
        if options.guided:
            results[name] = guided(name, options.guided, options.corpus / name)
        else:
            count = max(1, round(options.cases * TARGETS[name][2] / shares))
            results[name] = run(name, options.seed, options.first, count)
        print(name, json.dumps(results[name]), flush=True)
    found = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
    kind = "guided" if options.guided else "seeded"
    arguments = {"seed": options.seed, "first": options.first, "seconds": round(time.time() - start)}
    targets = {**found.get(kind, {}).get("targets", {}), **results}
    found[kind] = {**({} if options.guided else arguments), "targets": targets}
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    bad = any(one.get("failed") for one in results.values())
    sys.exit(int(bad))


if __name__ == "__main__":
    main()
