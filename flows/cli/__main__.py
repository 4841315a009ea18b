"""Run the `chainrule` command by `python -m flows.cli`."""

import runpy

from flows.process.supervisor import ENTRY

runpy.run_path(str(ENTRY), run_name="__main__")
