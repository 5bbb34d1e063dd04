"""``python -m fastsched``: the command line."""

from fastsched.cli import main

main()
