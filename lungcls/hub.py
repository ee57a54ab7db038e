"""A pipeline as a folder, and on the hub: its weights with their cards, its options, and a model card.

The folder holds ``lungcls.json`` (which file is which stage, and the options), each weight file with its
card, and ``README.md`` with the hub's YAML. Only safetensors are written and read; the hashes of the cards
are checked when the pipeline is made of them, as everywhere.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from lungcls.cards import Card, is_stem
from lungcls.errors import MissingExtraError, WeightsError
from lungcls.files import atomic_write, write_json, write_text
from lungcls.labels import NOTICE
from lungcls.render.tables import markdown_table
from lungcls.versions import versions
from lungcls.weights import checked_card, find_weights

CONFIG: Final = "lungcls.json"
STAGES: Final = ("classifier", "segmenter", "gate", "fallback")
"""What a folder may hold weights of, in the words of :class:`lungcls.Pipeline`."""

OPTIONS: Final = ("on_bad_mask", "on_reject", "fill_holes", "keep_parts", "tta", "coverage")
"""The options that are kept; all others concern a machine."""

_FILES: Final = (CONFIG, "README.md", "*.json", "*.safetensors")
_FORMAT: Final = 1
_SHOWN: Final = (
    "accuracy",
    "macro_f1",
    "macro_auroc",
    "ece",
    "auroc",
    "average_precision",
    "f1",
    "dice_mean",
    "hd95_mean",
)


def save_folder(
    folder: str | Path,
    stages: Mapping[str, str | Path | None],
    options: Mapping[str, Any],
    *,
    name: str = "",
    licence: str = "",
    datasets: Sequence[str] = (),
) -> Path:
    """Write a pipeline's folder.

    Parameters
    ----------
    folder : path-like
        Files of these names are replaced.
    stages : mapping of str to str, path-like or None
        Weights by what they are (:data:`STAGES`); None for none.
    options : mapping
        Of :data:`OPTIONS`.
    name : str, optional
        ``user/name`` of the hub, or a title for the model card; the classifier's name if left out.
    licence : str, optional
        As the hub identifies licences, such as ``cc-by-nc-4.0``; the cards' own words if left out.
    datasets : sequence of str, optional
        Of the hub, ``user/name``, for the model card's YAML.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    WeightsError
        If weights are missing, damaged, an exported file, or two different ones have one name.
    MissingExtraError
        If huggingface_hub, which writes the YAML, is not installed.
    """
    folder = Path(folder)
    cards, paths = _collected(stages)
    text = _readme(cards, name, licence, datasets)
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths.values():
        for part in (path, path.with_suffix(".json")):
            if part.resolve() != (folder / part.name).resolve():
                with part.open("rb") as content, atomic_write(folder / part.name) as copy:
                    shutil.copyfileobj(content, copy)
    write_text(folder / "README.md", text)
    stated = {
        "format": _FORMAT,
        "library": "lungcls",
        "versions": versions(),
        "stages": {stage: paths[stage].stem if stage in paths else None for stage in STAGES},
        "options": {key: options[key] for key in OPTIONS if key in options},
    }
    # Last: a folder with it is whole.
    write_json(folder / CONFIG, stated)
    return folder


def read_folder(folder: str | Path) -> dict[str, Any]:
    """Read a pipeline's folder.

    Returns
    -------
    dict
        Keywords of :class:`lungcls.Pipeline`: the paths of the weights, and the options.

    Raises
    ------
    WeightsError
        If it is no such folder, or its ``lungcls.json`` has an impossible value.
    """
    folder = Path(folder)
    path = folder / CONFIG
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(
            f"{folder}: no {CONFIG} in it, so it is no folder of Pipeline.save_pretrained; weights alone are "
            "given to Pipeline(classifier=...)"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(stated, dict) or stated.get("format") != _FORMAT:
        raise WeightsError(f"{path}: this lungcls reads the format {_FORMAT} alone; update lungcls")
    stages, options = stated.get("stages"), stated.get("options")
    if not isinstance(stages, dict) or not isinstance(options, dict):
        raise WeightsError(f"{path}: expected the objects stages and options")
    if unknown := sorted({*stages} - {*STAGES} | {*options} - {*OPTIONS}):
        raise WeightsError(f"{path}: unknown entries {', '.join(map(str, unknown))}")
    for stage, stem in stages.items():
        # A name, never a path: nothing outside the folder is read.
        if stem is not None and not is_stem(stem):
            raise WeightsError(f"{path}: {stage} is {stem!r}; expected the stem of a file's name")
    if not stages.get("classifier") or not stages.get("segmenter"):
        raise WeightsError(f"{path}: expected a classifier and a segmenter among the stages")
    paths = {stage: stem and str(folder / f"{stem}.safetensors") for stage, stem in stages.items()}
    return {**dict.fromkeys(STAGES), **paths, **options}


def fetch(
    name: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache: str | Path | None = None,
    offline: bool = False,
    endpoint: str | None = None,
) -> Path:
    """Download a pipeline's folder from the hub, or find it in the hub's cache.

    Parameters
    ----------
    name : str
        ``user/name``.
    revision : str, optional
        Branch, tag or commit; a commit pins all bytes.
    token : str or bool, optional
        As huggingface_hub takes it.
    cache : path-like, optional
        The hub's cache if left out.
    offline : bool, default=False
        Look into the cache alone.
    endpoint : str, optional
        URL of another server that speaks the hub's protocol.

    Returns
    -------
    Path

    Raises
    ------
    WeightsError
        If there is no such repository, or it cannot be reached.
    MissingExtraError
        If huggingface_hub is not installed.
    """
    hub = _hub("loading from the hub")
    try:
        folder = hub.snapshot_download(
            name,
            revision=revision,
            token=token,
            cache_dir=cache,
            local_files_only=offline,
            allow_patterns=list(_FILES),
            endpoint=endpoint,
            library_name="lungcls",
        )
    except _failures() as error:
        said = " ".join(str(error).split())
        raise WeightsError(
            f"{name}: not had from the hub ({type(error).__name__}: {said[:300]}); give a name such as "
            "user/name, or a folder of Pipeline.save_pretrained"
        ) from error
    return Path(folder)


def push(
    folder: str | Path,
    name: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    message: str = "Pipeline of lungcls",
    endpoint: str | None = None,
) -> str:
    """Upload a pipeline's folder to the hub; its repository is made if there is none.

    Returns
    -------
    str
        URL of the commit.

    Raises
    ------
    WeightsError
        If the hub refuses it or cannot be reached.
    MissingExtraError
        If huggingface_hub is not installed.
    """
    hub = _hub("pushing to the hub")
    api = hub.HfApi(endpoint=endpoint, token=token, library_name="lungcls")
    try:
        api.create_repo(name, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=name,
            folder_path=str(folder),
            allow_patterns=list(_FILES),
            revision=revision,
            commit_message=message,
        )
    except _failures() as error:
        said = " ".join(str(error).split())
        raise WeightsError(
            f"{name}: not pushed to the hub ({type(error).__name__}: {said[:300]}); log in with "
            "`hf auth login`, or give a token"
        ) from error
    return str(done.commit_url)


def _hub(purpose: str) -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise MissingExtraError("huggingface_hub", "hub", purpose) from error
    return huggingface_hub


def _failures() -> tuple[type[Exception], ...]:
    errors: Any = import_module("huggingface_hub.errors")
    # No connection, what the hub answers, and names and files that are not as expected.
    return (errors.HTTPError, errors.HfHubHTTPError, errors.EntryNotFoundError, OSError, ValueError)


def _collected(stages: Mapping[str, str | Path | None]) -> tuple[dict[str, Card], dict[str, Path]]:
    """Card and file of each stage, checked."""
    cards: dict[str, Card] = {}
    paths: dict[str, Path] = {}
    for stage, weights in stages.items():
        if weights is None:
            continue
        path = find_weights(weights)
        if path.suffix != ".safetensors":
            raise WeightsError(
                f"{path}: only .safetensors weights go into a folder; give what it was made of"
            )
        others = {card.name: card.sha256 for card in cards.values()}
        card = checked_card(path)
        if others.get(card.name, card.sha256) != card.sha256 or path.stem != card.name:
            raise WeightsError(
                f"{path}: two weight files of the name {card.name}, or one whose card has another name; "
                "rename one of them with its card"
            )
        cards[stage], paths[stage] = card, path
    return cards, paths


def _readme(cards: Mapping[str, Card], name: str, licence: str, datasets: Sequence[str]) -> str:
    hub = _hub("the hub's model card")
    card = cards["classifier"]
    title = name.rpartition("/")[2] or card.name
    own = {"license": licence} if licence else {"license": "other", "license_name": "see-model-card"}
    data = hub.ModelCardData(
        library_name="lungcls",
        pipeline_tag="image-classification",
        tags=["chest-x-ray", "lung-segmentation", "medical-imaging", "research-only"],
        datasets=list(datasets) or None,
        model_name=title,
        metrics=sorted({metric for stage in cards.values() for metric, *_ in _headlines(stage)}) or None,
        eval_results=[one for stage in cards.values() for one in _results(hub, stage)] or None,
        **own,
    )
    lines = ["---", data.to_yaml(), "---", "", f"# {title}", "", f"**{NOTICE}**", ""]
    lines += [
        "```python",
        "import lungcls",
        "",
        f'pipe = lungcls.Pipeline.from_pretrained("{name if "/" in name else "user/name"}")  # or a folder',
        'pipe.predict("film.png").probabilities',
        "```",
        "",
        f"Classes: {', '.join(card.classes)} ({'several a film' if card.multilabel else 'one a film'}); "
        f"region `{(card.region or {}).get('name')}`.",
        "",
    ]
    table = [
        [stage, one.name, one.task, str(one.training_data.get("dataset", "-")), one.licence, one.sha256[:12]]
        for stage, one in cards.items()
    ]
    lines.append(
        markdown_table(["stage", "weights", "task", "trained on", "licence of the weights", "SHA-256"], table)
    )
    rows = [
        [one.name, metric, part, _interval(estimate)]
        for one in cards.values()
        for metric, part, estimate in _headlines(one)
    ]
    if rows:
        lines += ["", markdown_table(["weights", "metric", "on", "value (95% interval)"], rows)]
    return "\n".join(lines) + "\n"


def _headlines(card: Card) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Metric, part and value of the headline figures of a card."""
    rows: list[tuple[str, str, Mapping[str, Any]]] = []
    for part, report in card.metrics.items():
        overall = report.get("overall", {}) if isinstance(report, dict) else {}
        for metric in _SHOWN:
            value = overall.get(metric)
            if isinstance(value, dict) and isinstance(value.get("value"), (int, float)):
                rows.append((metric, part, value))
    return rows


def _results(hub: Any, card: Card) -> list[Any]:
    return [
        hub.EvalResult(
            task_type="image-segmentation" if card.task == "segmentation" else "image-classification",
            dataset_type="own",
            dataset_name=str(card.training_data.get("dataset", "unknown")),
            dataset_split=part,
            metric_type=metric,
            metric_value=round(float(value["value"]), 4),
            metric_name=f"{metric} of {card.name}",
            metric_args={
                "interval": 0.95,
                "low": _rounded(value.get("low")),
                "high": _rounded(value.get("high")),
            },
        )
        for metric, part, value in _headlines(card)
    ]


def _rounded(value: Any) -> float | None:
    return round(float(value), 4) if isinstance(value, (int, float)) else None


def _interval(value: Mapping[str, Any]) -> str:
    low, high = _rounded(value.get("low")), _rounded(value.get("high"))
    ends = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{value['value']:.3f}{ends}"
