"""``python -m lungcls``: the command line."""

from lungcls.cli.main import main

main()
