"""Fuzz the reading of cards with atheris: a card of any bytes gives a card or a WeightsError.

    pip install atheris && python scripts/fuzz_cards.py -max_total_time=300

Starts from the released cards; libFuzzer's own options are taken (https://llvm.org/docs/LibFuzzer.html).
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports():
    from lungcls.weights import find_weights, load_card, released

from lungcls.errors import WeightsError

_FOLDER = Path(tempfile.mkdtemp())
_WEIGHTS = _FOLDER / "fuzzed.safetensors"


def one(content: bytes) -> None:
    _WEIGHTS.with_suffix(".json").write_bytes(content)
    with contextlib.suppress(WeightsError):
        load_card(_WEIGHTS)


def main() -> None:
    _WEIGHTS.touch()
    corpus = _FOLDER / "corpus"
    corpus.mkdir()
    for name in released():
        (corpus / name).write_bytes(find_weights(name).with_suffix(".json").read_bytes())
    atheris.Setup([*sys.argv, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
