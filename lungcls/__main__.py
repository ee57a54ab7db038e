"""``python -m lungcls`` and the script ``lungcls``: the command line."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, where what it needs is installed."""
    try:
        from lungcls.cli.main import main as run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.stderr.write(
            f"lungcls: the command line needs the package {error.name!r}, which the light install lacks; "
            "install it with: pip install typer\n"
        )
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
