"""The configuration of all tasks: one YAML file, one module per section.

Import `Config` from `tasks.config.root` and a section from its own module. These
modules import nothing heavy: the command line reads the configuration before it loads
torch or Ray.
"""
