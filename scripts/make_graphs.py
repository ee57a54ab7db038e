"""Write the ONNX graphs of weight files beside them: run it whenever a weight file changes.

    python scripts/make_graphs.py [NAME|PATH]...

Without a name: of all released weights. The graphs hold no weights but point into the ``.safetensors`` files;
a test fails where one is missing or belongs to other weights.
"""

from __future__ import annotations

import sys

from lungcls.export import write_graph
from lungcls.weights import released


def main() -> None:
    for name in sys.argv[1:] or released():
        path = write_graph(name)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
