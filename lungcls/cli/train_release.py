"""``lungcls train-release``: the door to ``scripts/release.py`` of a checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer

import lungcls
from lungcls.errors import LungclsError

app = typer.Typer(add_completion=False)


# All that is typed is for the script.
@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def train_release(context: typer.Context) -> None:
    """Train, measure and describe all released weights (runs scripts/release.py of a checkout)."""
    script = Path(lungcls.__file__).parents[1] / "scripts" / "release.py"
    if not script.is_file():
        raise LungclsError(
            "train-release is scripts/release.py of lungcls's source tree, which is not installed with the "
            "package; run it there: python scripts/release.py --data DIR -o runs"
        )
    raise typer.Exit(subprocess.run([sys.executable, str(script), *context.args]).returncode)
