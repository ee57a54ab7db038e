"""Options that several commands share: one word for one thing, checked before anything is read or loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable
from dataclasses import Field, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, TypeVar, get_type_hints

import typer

from lungcls.errors import OptionError
from lungcls.options import PipelineOptions, check_device

Function = TypeVar("Function", bound=Callable[..., Any])

PARTS: Final = ("train", "validation", "test", "all")
"""What --part takes: the parts of a split, and all images of a dataset."""


def one_of(name: str, choices: Iterable[str]) -> Callable[[Any], Any]:
    """Return a callback of an option that refuses what is not among its choices.

    Parameters
    ----------
    name : str
        Of the option, such as ``--part``.
    choices : iterable of str
    """
    allowed = tuple(choices)

    def check(value: Any) -> Any:
        for word in [value] if isinstance(value, str) else value or ():
            if word not in allowed:
                raise OptionError(f"{name} is {word!r}; expected one of {', '.join(allowed)}")
        return value

    return check


def _layout(value: str | None) -> str | None:
    from lungcls.data.open import LAYOUTS

    # A class that is named by its place is looked for where the dataset is opened.
    if value is not None and ":" not in value:
        one_of("--layout", (*LAYOUTS, "package.module:Class"))(value)
    return value


def _device(value: str) -> str:
    check_device(value)
    return value


def _recipe(value: str) -> str:
    from lungcls.recipes import load_recipe

    load_recipe(value)
    return value


def _arguments(each: Field[Any]) -> tuple[Any, Any]:
    """Type and typer's words for a field of a class of options."""
    says = each.metadata
    words = str(each.type).split(" | ")
    kind = {"int": int, "float": float, "bool": bool}.get(words[0], str)
    flag = each.name.replace("_", "-")
    return (
        kind | None if "None" in words else kind,
        typer.Option(
            f"--{flag}/--no-{flag}" if kind is bool else f"--{flag}",
            help=says["help"],
            metavar=None if kind is bool else says["metavar"],
            min=says["low"],
            show_default=each.default is not None,
        ),
    )


def takes(options: type[Any], without: Collection[str] = ()) -> Callable[[Function], Function]:
    """Let a command take the fields of a class of options, each as an option of its own.

    Parameters
    ----------
    options : type
        A dataclass with fields of :func:`lungcls.options.option`, or whose fields are all annotated with
        options of typer, such as those of this module. The parameter of the command that is annotated with it
        gets an instance. A command may take several such classes, one decorator each.
    without : collection of str, optional
        Fields that the command does not offer; they keep their defaults.
    """

    def decorate(command: Function) -> Function:
        signature = inspect.signature(command, eval_str=True)
        (place,) = (one.name for one in signature.parameters.values() if one.annotation is options)
        offered = [each for each in fields(options) if each.name not in without]
        parameters = [one for one in signature.parameters.values() if one.name != place]
        ready = {} if all(each.metadata for each in offered) else get_type_hints(options, include_extras=True)
        for each in offered:
            if each.metadata:
                kind, words = _arguments(each)
                annotation: Any = Annotated[kind, words]
            else:
                annotation = ready[each.name]
            parameters.append(
                inspect.Parameter(
                    each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=annotation
                )
            )

        @wraps(command)
        def run(**values: Any) -> Any:
            chosen = {each.name: values.pop(each.name) for each in offered}
            for each in offered:
                if chosen[each.name] == "none" and "none" in (each.metadata.get("metavar") or ""):
                    chosen[each.name] = None
            return command(**values, **{place: options(**chosen)})

        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run  # type: ignore[return-value]

    return decorate


_OF_PIPELINE = {each.name: each for each in fields(PipelineOptions)}

_DATA: Final = typer.Option(
    "--data",
    envvar="LUNGCLS_DATA",
    help="Folder of the dataset, a CSV file of paths and labels, or a TOML file that merges several.",
    show_envvar=True,
)
Data: TypeAlias = Annotated[Path, _DATA]
OptionalData: TypeAlias = Annotated[Path | None, _DATA]
SplitFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--split",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="A split of `lungcls data split`; made by the seed if left out.",
    ),
]
Part: TypeAlias = Annotated[
    str,
    typer.Option(
        "--part",
        metavar="|".join(PARTS),
        callback=one_of("--part", PARTS),
        help="Part of the split, or all images.",
    ),
]
Layout: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--layout",
        callback=_layout,
        help="radiography, coronahack, covid-chestxray, masks, folders, lists, or package.module:Class of "
        "one's own or torchxrayvision's; if left out, told by what is in the folder.",
    ),
]
Classes: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--classes",
        help="Other classes: binary (COVID, other), three (COVID, Pneumonia, Normal), four (those of "
        "lungcls), or a TOML file with a table [classes].",
    ),
]
OutFolder: TypeAlias = Annotated[
    Path, typer.Option("-o", "--out", file_okay=False, help="Folder for the results.", show_default=False)
]
RunFolder: TypeAlias = Annotated[
    Path,
    typer.Option(
        "-o", "--out", file_okay=False, help="Folder of the run. The same command goes on after a kill."
    ),
]
Inputs: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="INPUT...", help="Files, folders and patterns such as 'scans/**/*.dcm'."),
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", file_okay=False, help="Folder for tables and pictures; the answer is printed as well."
    ),
]
Classifiers: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--classifier",
        metavar="NAME|PATH",
        help="Weights of stage 2; several make an ensemble.",
        show_default=False,
    ),
]
SegmenterName: TypeAlias = Annotated[
    str,
    typer.Option("--segmenter", metavar="NAME|PATH", help=_OF_PIPELINE["segmenter"].metadata["help"]),
]
OtherSegmenter: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--segmenter", metavar="NAME|PATH", help="Segmenter whose masks are used, in place of the recipe's."
    ),
]
Device: TypeAlias = Annotated[
    str,
    typer.Option(
        "--device",
        metavar=_OF_PIPELINE["device"].metadata["metavar"],
        callback=_device,
        help=_OF_PIPELINE["device"].metadata["help"],
    ),
]
Engine: TypeAlias = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar=_OF_PIPELINE["engine"].metadata["metavar"],
        callback=one_of("--engine", _OF_PIPELINE["engine"].metadata["choices"]),
        help=_OF_PIPELINE["engine"].metadata["help"],
    ),
]
BatchSize: TypeAlias = Annotated[
    int, typer.Option("--batch-size", min=1, help=_OF_PIPELINE["batch_size"].metadata["help"])
]
RecipeName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", callback=_recipe, help="A name (`lungcls info` lists them) or a TOML file."
    ),
]
Recipe: TypeAlias = Annotated[
    str,
    typer.Option("--recipe", callback=_recipe, help="A classifier's recipe: a name or a TOML file."),
]
Seed: TypeAlias = Annotated[
    int,
    typer.Option(
        "--seed", min=0, help="Of the split, where no file is given, and of all that is drawn at random."
    ),
]
OtherSeed: TypeAlias = Annotated[
    int | None, typer.Option("--seed", min=0, help="Seed, in place of the recipe's.")
]
Epochs: TypeAlias = Annotated[
    int | None,
    typer.Option("--epochs", min=1, help="Cut every stage of a schedule to so many epochs, for a trial."),
]
Masks: TypeAlias = Annotated[
    str,
    typer.Option(
        "--masks",
        callback=one_of("--masks", ("predicted", "truth")),
        help="predicted (by the segmenter) or truth (the dataset's own).",
    ),
]
Limit: TypeAlias = Annotated[
    int,
    typer.Option("--limit", min=0, help="Take only about so many images of each class; 0 takes all."),
]
FilmsPerChange: TypeAlias = Annotated[
    int,
    typer.Option(
        "--films-per-change",
        min=0,
        help="Films for checks 6, I, J and M, which change each film often, drawn by class; 0 takes all.",
    ),
]
Resamples: TypeAlias = Annotated[
    int, typer.Option("--resamples", min=1, help="Bootstrap resamples, drawn by group.")
]
Cache: TypeAlias = Annotated[
    Path | None,
    typer.Option("--cache", file_okay=False, help="Folder for predicted masks, to share between runs."),
]
Workers: TypeAlias = Annotated[
    int, typer.Option("--workers", min=0, help="Processes that augment, in training.")
]
ValueRange: TypeAlias = Annotated[
    tuple[float, float] | None,
    typer.Option("--value-range", metavar="LO HI", help="What is black and what is white, such as 0 4095."),
]
