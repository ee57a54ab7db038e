"""Files and names that mean no good."""

from __future__ import annotations

import io
import resource
import socket
import struct
import time
import zlib
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image, PngImagePlugin


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def png_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def zeros(size: int) -> bytes:
    """Compress so many zeros, without holding them."""
    packer, block = zlib.compressobj(9), bytes(1 << 20)
    return b"".join([*(packer.compress(block) for _ in range(size >> 20)), packer.flush()])


def huge_png() -> bytes:
    """A sound PNG of 10,000 by 10,000 pixels in 100 kB."""
    head = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)
    return png_chunks((b"IHDR", head), (b"IDAT", zeros(100 << 20)), (b"IEND", b""))


def text_bomb() -> bytes:
    """A small PNG whose text inflates to 256 MiB."""
    buffer = io.BytesIO()
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(buffer, "PNG")
    whole = buffer.getvalue()
    data = b"Comment\x00\x00" + zeros(256 << 20)
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    return whole[:33] + chunk + whole[33:]


def dataset(syntax: str) -> pydicom.Dataset:
    """Start a DICOM dataset of a transfer syntax."""
    scan = pydicom.Dataset()
    scan.file_meta = pydicom.dataset.FileMetaDataset()
    scan.file_meta.TransferSyntaxUID = syntax
    scan.file_meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    scan.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    scan.Rows = scan.Columns = 64
    return scan


def deflated_bomb() -> bytes:
    """A deflated DICOM file whose pixels inflate to 512 MiB."""
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset(pydicom.uid.DeflatedExplicitVRLittleEndian), enforce_file_format=True)
    whole = buffer.getvalue()
    start = 144 + int.from_bytes(whole[140:144], "little")  # behind preamble and file meta information
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(512)), packer.flush()])
    return whole[:start] + body


@pytest.mark.parametrize("make", [huge_png, text_bomb, deflated_bomb])
def test_a_bomb_costs_neither_memory_nor_time(shared_client: Any, make: Any) -> None:
    content = make()
    assert len(content) < 1_500_000
    before, started = peak(), time.perf_counter()
    answer = shared_client.post("/v1/predict", files={"files": ("film.png", content)})
    assert answer.status_code in (413, 415, 422)
    assert answer.json()["errors"][0]["name"] == "film.png"
    assert time.perf_counter() - started < 10
    assert peak() - before < 200_000  # kB


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"../../etc/passwd", "passwd"),
        (rb"C:\\films\\a.png", "a.png"),
        (b"a\x00b.png", "a_b.png"),
        ("a\u202egnp.exe".encode(), "a_gnp.exe"),
        (b"x" * 500, "x" * 120),
        (b"", "image-1"),
        (b"<script>alert(1)<", "<script>alert(1)<"),
    ],
)
def test_a_name_is_only_a_name(shared_client: Any, png: bytes, sent: bytes, kept: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="' + sent + b'"\r\n\r\n' + png
    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = shared_client.post("/v1/segment", content=body + b"\r\n--x--\r\n", headers=kind)
    assert answer.json()["results"][0]["file"]["name"] == kept
    assert all(
        "passwd" not in value and "script" not in value.split(";")[0] for value in answer.headers.values()
    )


@pytest.mark.parametrize(
    "line", [b'a"\r\nSet-Cookie: a=b\r\n\r\n', b"a\r\nX-Injected: 1", b"a%0d%0aX-Injected: 1"]
)
def test_a_name_forges_no_header(shared_client: Any, png: bytes, line: bytes) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="' + line + b'"\r\n\r\n' + png
    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = shared_client.post("/v1/segment", content=body + b"\r\n--x--\r\n", headers=kind)
    assert answer.status_code in (200, 400, 415, 422)
    assert not {"set-cookie", "x-injected"} & set(answer.headers)


def test_no_address_that_is_sent_is_fetched(shared_client: Any, png: bytes) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/film.png"
        for field in ("url", "files_url", "source", "image", "region", "target"):
            answer = shared_client.post("/v1/explain", files={"files": png}, data={field: url})
            assert answer.status_code == 422
        svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>'
        for content in (url.encode(), svg.encode(), b"file:///etc/passwd"):
            answer = shared_client.post("/v1/predict", files={"files": ("a.png", content)})
            assert answer.status_code == 415
        about = PngImagePlugin.PngInfo()
        about.add_text("XML:com.adobe.xmp", f'<x:xmpmeta><a rdf:about="{url}"/></x:xmpmeta>')
        buffer = io.BytesIO()
        Image.open(io.BytesIO(png)).save(buffer, "PNG", pnginfo=about)
        assert shared_client.post("/v1/predict", files={"files": buffer.getvalue()}).status_code == 200
        scan = dataset("1.2.840.10008.1.2.4.94")  # JPIP: the pixels are behind an address
        scan.PixelDataProviderURL = scan.RetrieveURL = url
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, scan, enforce_file_format=True, little_endian=True, implicit_vr=False)
        assert shared_client.post("/v1/predict", files={"files": buffer.getvalue()}).status_code == 422
        with pytest.raises(BlockingIOError):
            listener.accept()
