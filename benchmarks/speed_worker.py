"""One system of the speed benchmark, in a process of its own: so memory and threads are its own too.

``speed.py`` starts it and asks for one measurement after the other, a line of JSON each.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Source = Any
Run = Callable[[Sequence[Source], int], Iterator[Any]]


def naive_pair() -> Run:
    """(a) What a user would write: U-Net ResNet34 at 256, DenseNet121 at 224, fp32, eager, one at a time."""
    import segmentation_models_pytorch as smp
    import torch
    import torchvision
    from torchvision.transforms import functional

    unet = smp.Unet("resnet34", encoder_weights=None).eval()
    densenet = torchvision.models.densenet121(weights=None, num_classes=4).eval()
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

    def prepared(image: Image.Image, side: int) -> torch.Tensor:
        tensor = functional.to_tensor(functional.resize(image, [side, side]))
        return functional.normalize(tensor, mean, std)[None]

    @torch.inference_mode()
    def run(sources: Sequence[Source], batch: int) -> Iterator[Any]:
        for source in sources:
            image = source if isinstance(source, np.ndarray) else Image.open(source)
            image = (Image.fromarray(image) if isinstance(image, np.ndarray) else image).convert("RGB")
            found = unet(prepared(image, 256))[0, 0].sigmoid() > 0.5
            mask = Image.fromarray(found.numpy().astype(np.uint8)).resize(
                image.size, Image.Resampling.NEAREST
            )
            kept = Image.fromarray(np.asarray(image) * np.asarray(mask)[..., None])
            yield densenet(prepared(kept, 224)).softmax(1)[0]

    return run


def torchxrayvision() -> Run:
    """(b) torchxrayvision's DenseNet at 224, with its own preparation: a classifier alone, without masks."""
    import torch
    import torchxrayvision as xrv

    model = xrv.models.DenseNet(weights=None).eval()
    resize, crop = xrv.datasets.XRayResizer(224, engine="cv2"), xrv.datasets.XRayCenterCrop()

    def prepared(source: Source) -> torch.Tensor:
        pixels = source if isinstance(source, np.ndarray) else np.asarray(Image.open(source).convert("L"))
        return torch.from_numpy(resize(crop(xrv.datasets.normalize(pixels, 255)[None])))

    @torch.inference_mode()
    def run(sources: Sequence[Source], batch: int) -> Iterator[Any]:
        for start in range(0, len(sources), batch):
            views = torch.stack([prepared(source) for source in sources[start : start + batch]])
            yield from model(views.float())

    return run


def lungcls_pipeline(options: dict[str, Any]) -> Run:
    """The project's own pipeline, with all that it does for a user: gate, quality and reading included."""
    from lungcls import Pipeline

    pipeline = Pipeline(device="cpu", **options)

    def run(sources: Sequence[Source], batch: int) -> Iterator[Any]:
        if batch > 1:
            yield from pipeline.stream(sources, batch_size=batch)
        else:
            for source in sources:
                yield pipeline.predict(source)

    return run


def build(system: dict[str, Any]) -> Run:
    """Make the system that ``speed.py`` describes."""
    makers: dict[str, Callable[[], Run]] = {"naive": naive_pair, "torchxrayvision": torchxrayvision}
    kind = system["kind"]
    return makers[kind]() if kind in makers else lungcls_pipeline(system["options"])


def timed(answers: Iterable[Any]) -> dict[str, Any]:
    """Seconds, processor seconds, and when each answer came."""
    marks = [time.perf_counter()]
    before = time.process_time()
    for _ in answers:
        marks.append(time.perf_counter())
    return {
        "images": len(marks) - 1,
        "seconds": marks[-1] - marks[0],
        "cpu_seconds": time.process_time() - before,
        "gaps": np.diff(marks).tolist(),
    }


def memory() -> float:
    """Resident memory at present, in MiB; the peak where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmRSS"].split()[0]) / 1024
    return peak()


def peak() -> float:
    """Largest resident memory so far, in MiB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def steady(run: Run, files: Sequence[str], count: int, batch: int) -> dict[str, Any]:
    """Resident memory while `count` images pass, the files over and over."""
    # Not itertools.cycle over one list: stream() must read lazily for this to stay small.
    sources: Any = (files[index % len(files)] for index in range(count))
    start = time.perf_counter()
    seen = []
    for index, _ in enumerate(run(sources, batch), 1):
        if index % max(1, count // 20) == 0:
            seen.append({"images": index, "mib": memory()})
    return {"images": count, "seconds": time.perf_counter() - start, "memory": seen, "peak_mib": peak()}


def accuracy(run: Run, files: Sequence[str], masks: Sequence[str | None]) -> dict[str, Any]:
    """Labels, and Dice with the database's masks, of the project's own pipeline."""
    from lungcls.evaluation.segmentation import dice
    from lungcls.images import read_image
    from lungcls.regions import resize_mask

    labels, scores = [], []
    for answer, mask in zip(run(files, 32), masks, strict=True):
        labels.append(max(answer.probabilities, key=answer.probabilities.__getitem__))
        if mask is not None:
            truth = read_image(mask).pixels > 0.5
            height, width = answer.lungs.mask.shape
            scores.append(dice(answer.lungs.mask, resize_mask(truth, (height, width))))
    return {"labels": labels, "dice": float(np.mean(scores)) if scores else None}


def rate(precision: str, seconds: float) -> float:
    """Best rate of square matrix products here, in operations (a product and a sum are two) a second."""
    import torch

    best = 0.0
    for size in (1024, 2048):
        if precision == "int8":
            values = torch.randint(-100, 100, (size, size), dtype=torch.int8)
            product = torch._int_mm
        else:
            values = torch.randn(size, size).to(torch.bfloat16 if precision == "bf16" else torch.float32)
            product = torch.mm
        product(values, values)
        stop = time.perf_counter() + seconds
        while (start := time.perf_counter()) < stop:
            product(values, values)
            best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def operations() -> dict[str, float]:
    """Operations of each released stage for one image, counted by torch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from lungcls.classifier import Classifier
    from lungcls.segmenter import Segmenter

    counts = {}
    for stage in (
        Segmenter.load(engine="torch", device="cpu"),
        Classifier.load(engine="torch", device="cpu"),
    ):
        side = stage.card.input_size
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            stage.module(torch.zeros(1, 1, side, side))
        counts[stage.card.name] = float(counter.get_total_flops())
    return counts


def main() -> None:
    """Answer the measurements that are asked for on standard input."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    system = json.loads(sys.stdin.readline())
    needs_run = system["kind"] != "machine"
    run = build(system) if needs_run else None
    arrays: dict[str, Any] = {}
    for line in sys.stdin:
        ask = json.loads(line)
        what = ask["what"]
        if what == "rate":
            reply: dict[str, Any] = {"rate": rate(ask["precision"], ask["seconds"])}
        elif what == "operations":
            reply = operations()
        elif run is None:
            raise ValueError(f"unknown question {what!r}")
        elif what == "steady":
            reply = steady(run, ask["files"], ask["count"], ask["batch"])
        elif what == "accuracy":
            reply = accuracy(run, ask["files"], ask["masks"])
        elif what == "peak":
            reply = {"peak_mib": peak()}
        else:
            sources = ask["files"]
            if ask["source"] == "arrays":
                for file in sources:
                    if file not in arrays:
                        arrays[file] = np.asarray(Image.open(file).convert("L"))
                sources = [arrays[file] for file in sources]
            reply = timed(run(sources, ask["batch"]))
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
