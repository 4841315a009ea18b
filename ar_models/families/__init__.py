"""Model families, one per module, and the contract that they share.

`registry.MODELS` lists the families by name; `base.AutoregressiveModel` is the
contract. Families know nothing of tables, statistics or files.
"""
