"""Writing a MONAI bundle: a folder that ``python -m monai.bundle`` checks and runs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import torch

from lungcls.cards import Card
from lungcls.errors import MissingExtraError
from lungcls.files import atomic_write, write_json, write_text
from lungcls.interop.stages import FilmModule, load_stages
from lungcls.labels import NOTICE
from lungcls.render.tables import markdown_table
from lungcls.versions import versions

try:
    import monai

    from lungcls.interop.monai import BundleNetwork
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "monai", "monai", "writing a MONAI bundle") from error

SCHEMA: Final = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
"""What ``python -m monai.bundle verify_metadata`` checks the metadata against."""

_PLACE: Final = f"{BundleNetwork.__module__}.{BundleNetwork.__qualname__}"
_READER: Final = "lungcls.interop.monai.FilmReader"
_ABOUT: Final = (
    "Unlike lungcls.Pipeline the network has no quality gate, keeps holes and all parts of the masks "
    "(fill_holes=False, keep_parts=0), and does not spread the grey levels of flat films. Where a mask "
    "covers less than 3% of a film, the whole film is classified."
)


def export_bundle(
    folder: str | Path, segmenter: str | Path = "segmenter", classifier: str | Path | None = None
) -> Path:
    """Write a MONAI bundle that finds lungs, or goes through both stages to classes.

    Parameters
    ----------
    folder : path-like
        The bundle is a folder below it, called as the weights are. Files of the same name are replaced.
    segmenter : str or path-like, default="segmenter"
    classifier : str or path-like, optional
        Weights, as :func:`lungcls.weights.find_weights` takes them; without a classifier the bundle finds
        lungs.

    Returns
    -------
    Path
        The bundle: ``configs/metadata.json``, ``configs/inference.json`` and the cards beside them,
        ``models/model.pt``, ``docs/README.md`` and ``docs/license.txt``. It runs where lungcls is installed.

    Raises
    ------
    WeightsError
        If weights are missing or damaged.
    OptionError
        If a card asks for a treatment of the grey levels that tensors do not get.
    MissingExtraError
        If MONAI is not installed.
    """
    first, second = load_stages(segmenter, classifier)
    card = first[0] if second is None else second[0]
    root = Path(folder) / card.name
    content = io.BytesIO()
    # Under the names that BundleNetwork gives its parts.
    state = {f"films.{name}": value for name, value in FilmModule(first, second).state_dict().items()}
    torch.save(state, content)
    with atomic_write(root / "models" / "model.pt") as file:
        file.write(content.getvalue())
    write_text(root / "docs" / "license.txt", f"{card.licence}\n")
    write_text(root / "docs" / "README.md", _readme(card, second is not None))
    write_json(root / "configs" / "segmenter.json", first[0].to_dict())
    if second is not None:
        write_json(root / "configs" / "classifier.json", second[0].to_dict())
    write_json(root / "configs" / "inference.json", _inference(first[0], second is not None))
    write_json(root / "configs" / "metadata.json", _metadata(card, second is not None))
    return root


def _metadata(card: Card, classifies: bool) -> dict[str, Any]:
    packages = versions()
    film = {
        "type": "image",
        "format": "magnitude",
        "modality": "CR",
        "num_channels": 1,
        "spatial_shape": ["*", "*"],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": "grey, bone bright"},
    }
    answer = {
        **film,
        "type": "probabilities" if classifies else "image",
        "format": "classification" if classifies else "segmentation",
        "num_channels": len(card.classes),
        "spatial_shape": [] if classifies else ["*", "*"],
        "channel_def": {str(number): name for number, name in enumerate(card.classes)},
    }
    answer.pop("modality")
    return {
        "schema": SCHEMA,
        "version": packages["lungcls"],
        "changelog": {packages["lungcls"]: f"written by lungcls export --format monai from {card.name}"},
        "monai_version": monai.__version__,
        "pytorch_version": packages["torch"],
        "numpy_version": packages["numpy"],
        "required_packages_version": {"lungcls": packages["lungcls"]},
        "name": f"lungcls {card.name}",
        "task": "Chest X-ray classification by the lungs alone"
        if classifies
        else "Lung segmentation on chest X-rays",
        "description": f"{_ABOUT} {NOTICE}",
        "authors": "The lungcls authors",
        "copyright": card.licence,
        "data_source": str(card.training_data.get("dataset", "")),
        "data_type": "PNG, JPEG, TIFF, BMP, WebP or DICOM",
        "image_classes": "one grey channel in [0, 1], bone bright, upright",
        "pred_classes": ", ".join(card.classes),
        "eval_metrics": card.metrics,
        "intended_use": NOTICE,
        "network_data_format": {"inputs": {"image": film}, "outputs": {"pred": answer}},
    }


def _inference(segmenter: Card, classifies: bool) -> dict[str, Any]:
    network = {"_target_": _PLACE, "segmenter": "$@bundle_root + '/configs/segmenter.json'"}
    if classifies:
        network["classifier"] = "$@bundle_root + '/configs/classifier.json'"
    loader = {
        "_target_": "CheckpointLoader",
        "load_path": "$@bundle_root + '/models/model.pt'",
        "load_dict": {"model": "@network"},
    }
    table = {
        "_target_": "ClassificationSaver",
        "output_dir": "@output_dir",
        "filename": "predictions.csv",
        "batch_transform": "$lambda batch: [one['image'].meta for one in batch]",
        "output_transform": "$monai.handlers.from_engine(['pred'])",
    }
    masks = [
        {
            "_target_": "AsDiscreted",
            "keys": "pred",
            "threshold": segmenter.thresholds["mask"],
        },
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "meta_keys": "image_meta_dict",
            "output_dir": "@output_dir",
            "output_postfix": "lungs",
            "output_ext": ".png",
            "scale": 255,
            "resample": False,
            "separate_folder": False,
        },
    ]
    return {
        "imports": ["$import torch", "$import monai", "$import lungcls"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/films'",
        "output_dir": "$@bundle_root + '/results'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "datalist": "$[{'image': str(path)} for path in lungcls.find_images([@dataset_dir])]",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "reader": _READER},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
            ],
        },
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 1,
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": [] if classifies else masks},
        "handlers": [loader, *([table] if classifies else [])],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "initialize": [],
        "run": ["$@evaluator.run()"],
        "finalize": [],
    }


def _readme(card: Card, classifies: bool) -> str:
    answer = (
        "`predictions.csv`: the film's path, and the probabilities in the order of the table"
        if classifies
        else "a PNG a film, 255 where there is lung"
    )
    classes = markdown_table(
        ["output", "class"], [[str(number), name] for number, name in enumerate(card.classes)]
    )
    return f"""# lungcls {card.name}

{NOTICE}

```sh
python -m monai.bundle run --config_file configs/inference.json --meta_file configs/metadata.json \\
    --bundle_root . --dataset_dir FILMS --output_dir RESULTS
```

RESULTS then holds {answer}.

{classes}

{_ABOUT}
"""
