"""Run the `chainrule` command by `python -m flows.cli`."""

from flows.cli.start import main

main()
