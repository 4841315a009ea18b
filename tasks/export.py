"""A model as ONNX, for scoring without torch; checked against the model when written.

The graph takes encoded rows, `x` and `log_volume` of `TableEncoder.encode`, and gives
`log_prob` and `column_log_prob`, in nats of the original columns.
"""

import importlib.util
import json
import logging
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ar_models import families
from ar_models.density import TableDensity
from tasks import models, storage

logger = logging.getLogger(__name__)

FAMILIES = ("fvsbn", "independent", "made", "rnn", "transformer")
"""Families whose likelihood is one graph of operations that ONNX has."""

NEEDED = ("onnx", "onnxruntime", "onnxscript")
"""Packages of the extra onnx."""

OPSET = 20
"""Version of the operations; runtimes of 2024 and later know it."""

CHECKED_ROWS = 512
"""Rows, drawn from the model, that both must find equally likely, …"""

SAME = 1e-4
"""… to this many nats."""

Json = dict[str, Any]  # JSON-able values


def export(model: str, output: str) -> Json:
    """Writes a model as ONNX, once onnxruntime gives the same numbers as the model.

    Rows for that are drawn from the model, half of them with cells that never occurred
    in training. Nothing is written where the numbers differ by more than `SAME`.

    Args:
        model: Folder of the model, local or S3.
        output: The file, local or S3.

    Returns:
        `path`, `bytes`, `rows` (compared), `furthest` (nats), `seconds`.

    Raises:
        ValueError: The family cannot be exported, a package is missing, or the numbers
            differ.
    """
    began = time.monotonic()
    check_packages()
    density = models.load(model)
    check_family(density)
    content = graph(density)
    furthest = difference(density, content)
    if not furthest <= SAME:
        raise ValueError(
            f"{output}: not written, since onnxruntime's log-probabilities differ by "
            f"{furthest:.1e} nats from the model's, and may by {SAME:g}; score with "
            "the registered model instead"
        )
    with storage.publish(output) as unfinished:
        unfinished.write_bytes(content)
    return {
        "path": output,
        "bytes": len(content),
        "rows": CHECKED_ROWS,
        "furthest": furthest,
        "seconds": round(time.monotonic() - began, 3),
    }


def check_packages() -> None:
    """Raises ValueError where a package of the extra is missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"export needs {', '.join(missing)}: pip install 'chainrule[onnx]'"
        )


def check_family(density: TableDensity) -> None:
    """Raises ValueError where the family cannot be exported."""
    family = families.family(density.model)
    if family not in FAMILIES:
        raise ValueError(
            f"a model of family {family} cannot be exported to ONNX; these can: "
            f"{', '.join(FAMILIES)}"
        )
    if density.model.config().get("steps") == "places":
        raise ValueError(
            "a model with model.steps places cannot be exported to ONNX, since its "
            "graph depends on the rows; train with steps variables"
        )


class Likelihood(nn.Module):
    """What is exported of a density: log-probabilities of encoded rows.

    Args:
        density: The density.
    """

    columns: Tensor  # (dim, columns), 1 where a variable is of a column

    def __init__(self, density: TableDensity) -> None:
        super().__init__()
        self.model = density.model
        owners = torch.tensor(
            [variable.part_of for variable in density.model.variables]
        )
        table = nn.functional.one_hot(owners, len(density.columns)).double()
        self.register_buffer("columns", table)

    def forward(self, x: Tensor, log_volume: Tensor) -> tuple[Tensor, Tensor]:
        """Of each row and of each column, nats, float64: (rows,), (rows, columns).

        Args:
            x: Variables, (rows, dim), float32; NaN where absent.
            log_volume: What the change of units adds, (rows, columns), nats, float64.
        """
        each = self.model.variable_log_prob(x).double() @ self.columns + log_volume
        return each.sum(-1), each


def graph(density: TableDensity) -> bytes:
    """The ONNX model of a density."""
    rows = torch.export.Dim("rows", min=1)
    x, log_volume = encoded(density, 2)
    with warnings.catch_warnings():
        # Of torch, about itself.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Likelihood(density).eval(),
            (torch.from_numpy(x), torch.from_numpy(log_volume)),
            input_names=["x", "log_volume"],
            output_names=["log_prob", "column_log_prob"],
            dynamic_shapes=({0: rows}, {0: rows}),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # as it is with dynamo
    proto = program.model_proto
    if not all(
        entry.type.tensor_type.shape.dim[0].dim_param for entry in proto.graph.input
    ):
        raise ValueError(
            f"torch {torch.__version__} writes a graph for a fixed number of rows of "
            f"this {type(density.model).__name__}; score with the registered model"
        )
    proto.producer_name = "chainrule"
    for key, value in described(density).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    content: bytes = proto.SerializeToString()
    return content


def described(density: TableDensity) -> dict[str, str]:
    """What the file says of its inputs, as JSON by key."""
    encoder = density.encoder
    variables = [
        {
            "name": variable.name,
            "kind": variable.kind,
            "column": encoder.names[variable.part_of],
        }
        for variable in encoder.variables
    ]
    content = {
        "columns": encoder.names,
        "variables": variables,
        "encoder": encoder.to_dict(),
        "fingerprints": density.info["fingerprints"],
    }
    return {f"chainrule.{name}": json.dumps(each) for name, each in content.items()}


def encoded(
    density: TableDensity, rows: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows drawn from the model: (rows, dim) float32 and (rows, columns) float64."""
    found = density.encoder.encode(density.sample(rows, seed=seed))
    return found.x, found.log_volume


def difference(density: TableDensity, content: bytes) -> float:
    """How far a graph's log-probabilities are from the model's, at most, in nats."""
    import onnxruntime  # of an extra, which nothing else needs

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    x, log_volume = encoded(density, CHECKED_ROWS, seed=1)
    half = len(x) // 2
    # Cells that escaped have no value.
    x[half:][np.random.default_rng(0).random(x[half:].shape) < 0.1] = np.nan
    module = Likelihood(density).eval()
    furthest = 0.0
    for rows in batches(len(x)):
        with torch.inference_mode():
            expected = module(*map(torch.from_numpy, (x[rows], log_volume[rows])))
        found = session.run(None, {"x": x[rows], "log_volume": log_volume[rows]})
        for ours, theirs in zip(found, expected, strict=True):
            apart = np.abs(ours - theirs.numpy()).max()
            furthest = max(furthest, float(apart)) if apart == apart else np.inf
    return furthest


def batches(rows: int) -> Sequence[slice]:
    """One row alone, and the others together: the graph takes any number."""
    return [slice(0, 1), slice(1, rows)]
