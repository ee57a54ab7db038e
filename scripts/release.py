"""Train all released weights, measure them on the test part and write their model card.

    python scripts/release.py --data DIR -o runs --schedule gpu

The segmenter first, then the classifiers that its masks cut for. The same command goes on after a kill.
DIR is any dataset with lung masks that ``lungcls train`` takes. ``runs/weights`` gets weights, cards and the
model card.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from lungcls.data import Split, open_dataset, open_externals
from lungcls.errors import LungclsError, MissingExtraError
from lungcls.progress import bar
from lungcls.study.context import RunContext


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument(
        "--schedule", choices=("gpu", "cpu"), default="gpu", help="cpu: a shorter one, hours on two cores"
    )
    parser.add_argument("--layout", help="of the dataset; if left out, told by what is in the folder")
    parser.add_argument("--classes", help="other classes: binary, three, four or a TOML file")
    parser.add_argument("--split", type=Path, help="of `lungcls data split`; by default the recipes' seed")
    parser.add_argument(
        "--external",
        type=Path,
        action="append",
        default=[],
        help="folder of another collection (lung masks or classes) to evaluate on only; may be repeated",
    )
    parser.add_argument("--epochs", type=int, help="cut every stage to so many epochs, for a trial")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--devices", type=int, default=1, help="number of GPUs")
    parser.add_argument("--workers", type=int, default=1, help="processes that augment, in training")
    parser.add_argument("--compile", action="store_true", help="compile the networks (GPU)")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or LUNGCLS_DATA must name the folder of the dataset")
    try:
        try:
            from release.train import train_release
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "lightning", "train", "training") from error
        database = open_dataset(options.data, layout=options.layout, classes=options.classes)
        external = open_externals(options.external, taken=[database.layout])
        for name, dataset in external.items():
            print(f"{name}: {dataset.root}", file=sys.stderr)
        weights = train_release(
            database,
            options.out,
            schedule=options.schedule,
            split=Split.read_csv(options.split) if options.split else None,
            external=external,
            epochs=options.epochs,
            context=RunContext(
                device=options.device,
                devices=options.devices,
                workers=options.workers,
                compile_network=options.compile,
                show_progress=True,
                progress=bar,
            ),
        )
    except LungclsError as error:
        print(f"release.py: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{weights} holds the weights, their cards and the model card (README.md)")


if __name__ == "__main__":
    main()
