"""``lungcls info``: what is installed, and what the released weights are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lungcls.errors import OptionError
from lungcls.labels import NOTICE

if TYPE_CHECKING:
    from lungcls.weights import Card

_PACKAGES: Final = ("torch", "torchvision", "segmentation-models-pytorch", "lightning", "numpy", "pydicom")


def info(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Weights, by name or path: show their whole card.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    devices: Annotated[bool, typer.Option("--devices", help="Ask torch which devices are here.")] = False,
    models: Annotated[
        bool, typer.Option("--models", help="List the networks that can be trained; with NAME: one's layers.")
    ] = False,
) -> None:
    """Show versions, weights and recipes, or the card of one weight file or network."""
    from lungcls.weights import find_weights, load_card

    if models:
        _show_models(name, as_json)
        return
    if name is not None:
        card = load_card(name)
        path = find_weights(name)
        if as_json:
            typer.echo(json.dumps({**card.to_dict(), "path": str(path), "notice": NOTICE}, indent=1))
        else:
            _print_card(card, path)
        return
    sections = {
        "notice": NOTICE,
        "versions": _versions(),
        "weights": _weights(),
        "recipes": _recipes(),
        **({"devices": _devices()} if devices else {}),
    }
    if as_json:
        typer.echo(json.dumps(sections, indent=1))
    else:
        _print_all(sections)
    if any("error" in row for row in sections["weights"]):
        raise typer.Exit(1)


def _show_models(name: str | None, as_json: bool) -> None:
    """List the networks, or the layers of one with output shapes and parameter counts."""
    from lungcls.models import MODELS

    # The gate is trained by a script of its own.
    models = {name: one for name, one in MODELS.items() if one.task != "gate"}
    if name is None:
        rows: list[dict[str, Any]] = [
            {"name": one.name, "input": one.input, "parameters": one.parameters} for one in models.values()
        ]
        if as_json:
            typer.echo(json.dumps(rows, indent=1))
            return
        for row in rows:
            shape = "x".join(map(str, row["input"]))
            typer.echo(
                f"{row['name']:18} {shape:>9} {row['parameters']:>11,}  {models[row['name']].description}"
            )
        return
    if name not in models:
        raise OptionError(f"unknown model {name!r}; the models are {', '.join(models)}")
    from dataclasses import asdict

    from lungcls.models.summary import summarise

    layers = [asdict(layer) for layer in summarise({"model": name}, models[name].size)]
    if as_json:
        typer.echo(json.dumps(layers, indent=1))
        return
    for layer in layers:
        shape = "x".join(map(str, layer["output"]))
        typer.echo(f"{layer['name']:40} {layer['kind']:20} {shape:>12} {layer['parameters']:>11,}")
    typer.echo(f"{'in all':40} {'':20} {'':>12} {sum(layer['parameters'] for layer in layers):>11,}")


def _versions() -> dict[str, str | None]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import lungcls

    versions: dict[str, str | None] = {"lungcls": lungcls.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def _weights() -> list[dict[str, Any]]:
    from lungcls.errors import LungclsError
    from lungcls.lineage import other_segmenter
    from lungcls.weights import count_parameters, find_weights, load_card, released

    rows: list[dict[str, Any]] = []
    try:
        segmenter = load_card("segmenter")
    except LungclsError:  # said in its own row
        segmenter = None
    for name in released():
        try:
            card, path = load_card(name), find_weights(name)
            rows.append(
                {
                    "name": name,
                    "task": card.task,
                    "model": card.architecture.get("model"),
                    "region": card.region["name"] if card.region else None,
                    "input_size": card.input_size,
                    "parameters": count_parameters(path),
                    "bytes": path.stat().st_size,
                    "validation": dict([_headline(card)]),
                    "split_hash": card.training_data.get("split_hash"),
                    "lineage": other_segmenter(card, segmenter) if segmenter else "",
                    "sha256": card.sha256,
                }
            )
        except (LungclsError, OSError) as error:
            rows.append({"name": name, "error": str(error)})
    return rows


def _recipes() -> list[dict[str, Any]]:
    from lungcls.recipes.recipe import load_recipe, recipe_names

    recipes = {name: load_recipe(name) for name in recipe_names()}
    # Several recipes may make the same weights, one after the other: the file's name is what `train` takes.
    return [
        {
            "name": name,
            "makes": recipe.name,
            "task": recipe.task,
            "description": " ".join(recipe.description.split()),
        }
        for name, recipe in recipes.items()
    ]


def _devices() -> list[dict[str, str]]:
    import torch

    devices = [{"name": "cpu", "what": f"{torch.get_num_threads()} threads"}]
    for index in range(torch.cuda.device_count()):
        devices.append({"name": f"cuda:{index}", "what": torch.cuda.get_device_name(index)})
    if torch.backends.mps.is_available():
        devices.append({"name": "mps", "what": "Apple GPU"})
    return devices


def _headline(card: Card) -> tuple[str, Any]:
    """The one figure on the validation part that stands for the weights: its name and its estimate."""
    if card.task == "gate":
        passed = card.metrics.get("validation", {}).get("films_without_reason")
        return "films_without_reason", None if passed is None else {"value": passed}
    metric = "dice_mean" if card.task == "segmentation" else "macro_f1"
    overall = card.metrics.get("validation", {}).get("overall", {})
    return metric, overall.get(metric)


def _estimate(value: Any) -> str:
    """Write a figure with its interval."""
    if not isinstance(value, dict):
        return "not measured" if value is None else str(value)
    if value.get("value") is None:
        return "undefined"
    text = f"{value['value']:.4f}"
    if value.get("low") is not None and value.get("high") is not None:
        text += f" [{value['low']:.4f}, {value['high']:.4f}]"
    return text


def _print_all(sections: dict[str, Any]) -> None:
    from lungcls.recipes.listing import grouped_recipes

    versions = {name: version or "not installed" for name, version in sections["versions"].items()}
    _section("Versions", versions)
    for row in sections.get("devices", []):
        _section(f"Device {row['name']}", {"": row["what"]})
    typer.echo("\nWeights")
    if not sections["weights"]:
        typer.echo("  none are installed; train them with `lungcls train`")
    for row in sections["weights"]:
        if "error" in row:
            typer.echo(f"  {row['name']:18} damaged: {row['error']}")
            continue
        ((metric, value),) = row["validation"].items()
        size = f"{row['input_size']} px, {row['bytes'] / 1e6:.1f} MB"
        count = f", {row['parameters'] / 1e6:.1f} M parameters" if row["parameters"] else ""
        region = f", region {row['region']}" if row["region"] else ""
        typer.echo(f"  {row['name']:18} {row['task']}{region}: {row['model']}, {size}{count}")
        typer.echo(f"  {'':18} {metric} on validation {_estimate(value)}; split {row['split_hash']}")
        if row["lineage"]:
            typer.echo(f"  {'':18} {row['lineage']}")
    typer.echo("\nRecipes")
    for group, entries in grouped_recipes().items():
        if entries:
            typer.echo(f"  {group}")
        for entry in entries:
            facts = "; ".join(fact for fact in (entry.time, entry.result) if fact)
            typer.echo(f"    {entry.name:30} {entry.description}{f' ({facts})' if facts else ''}")
    typer.echo(f"\n{sections['notice']}")


def _print_card(card: Card, path: Path) -> None:
    from lungcls.weights import count_parameters

    values = card.to_dict()
    metrics, recipe = values.pop("metrics"), values.pop("recipe")
    conformal = values.pop("conformal")
    nested = {key: values.pop(key) for key in ("architecture", "training_data", "versions")}
    values = {"file": str(path), "bytes": path.stat().st_size, "parameters": count_parameters(path), **values}
    _section(card.name, {key: _flat(value) for key, value in values.items()})
    for key, value in {**nested, "recipe": recipe}.items():
        _section(key.replace("_", " ").capitalize(), {name: _flat(item) for name, item in value.items()})
    if conformal:
        # The scores themselves are hundreds of numbers, which tell nobody anything.
        sizes = {
            name: f"{scores['images']} images, {scores['groups']} groups"
            for name, scores in conformal["classes"].items()
        }
        data = {name: _flat(value) for name, value in conformal.get("data", {}).items()}
        _section(f"Conformal sets by the score {conformal['score']}, calibrated on", {**sizes, **data})
    for part, report in metrics.items():
        if "overall" not in report:  # the gate's, which are shares without intervals
            _section(f"Metrics, {part}", dict(_listed(report)))
            continue
        counts = f"{report.get('n_images', '?')} images, {report.get('n_groups', '?')} groups"
        values = {name: _estimate(value) for name, value in report["overall"].items()}
        for label, row in report.get("per_class", {}).items():
            values |= {f"{label}: {name}": _estimate(value) for name, value in row.items()}
        _section(f"Metrics, {part} ({counts})", values)
    typer.echo(f"\n{NOTICE}")


def _section(title: str, values: dict[str, Any]) -> None:
    typer.echo(f"\n{title}")
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        typer.echo(f"  {name:{width}}  {value}")


def _listed(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Name and text of each value, of nested ones the names joined; what holds no further ones is a line."""
    for name, value in values.items():
        if isinstance(value, dict) and any(isinstance(item, dict) for item in value.values()):
            yield from _listed(value, f"{before}{name}: ")
        else:
            yield f"{before}{name}", _flat(value)


def _flat(value: Any) -> str:
    """Write a value of a card on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_flat(item)}" for name, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_flat, value)) or "none"
    return "none" if value is None else " ".join(str(value).split())
