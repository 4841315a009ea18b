"""Export of a model to ONNX, for scoring without torch, verified with onnxruntime.

The inputs of the graph are encoded rows, `x` and `log_abs_det` of
`TableEncoder.encode`; its outputs are `log_prob` and `column_log_prob`, in nats of the
original columns.
"""

import importlib.util
import json
import logging
import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ar_models.density.sampler import Sampler
from ar_models.density.table_density import TableDensity
from ar_models.families import registry
from tasks.runtime import model_store, storage

logger = logging.getLogger(__name__)

FAMILIES = ("fvsbn", "independent", "made", "rnn", "transformer")
"""Families whose log-likelihood can be expressed in ONNX operators."""

REQUIRED_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
"""Packages that the extra `onnx` installs."""

OPSET = 20
"""ONNX operator set; runtimes since 2024 support it."""

CHECKED_ROWS = 512
"""Number of sampled rows on which the graph is compared with the model."""

TOLERANCE = 1e-4
"""Maximum difference of the log-probabilities, in nats."""


@dataclass(frozen=True)
class ExportResult:
    """The outcome of an export.

    Attributes:
        path: The ONNX file.
        bytes: Size of the file.
        rows: Number of rows on which it was compared with the model.
        max_difference: Largest difference of a log-probability, in nats.
        seconds: Wall-clock time of the call.
    """

    path: str
    bytes: int
    rows: int
    max_difference: float
    seconds: float


def export(model: str, output: str) -> ExportResult:
    """Write a model as ONNX if onnxruntime gives the same log-probabilities.

    They are compared on rows drawn from the model, half of them with cells out of
    support. Nothing is written where they differ by more than `TOLERANCE`.

    Args:
        model: Directory of the model, local or S3.
        output: The file, local or S3.

    Raises:
        ValueError: The family cannot be exported, a package is missing, or the
            log-probabilities differ.
    """
    began = time.monotonic()
    check_packages()
    density = model_store.load(model)
    check_family(density)
    content = build_graph(density)
    difference = max_difference(density, content)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{output}: not written, since onnxruntime's log-probabilities differ by "
            f"{difference:.1e} nats from the model's (tolerance {TOLERANCE:g}); score "
            "with the registered model instead"
        )
    with storage.publish(output) as unfinished:
        unfinished.write_bytes(content)
    return ExportResult(
        path=output,
        bytes=len(content),
        rows=CHECKED_ROWS,
        max_difference=difference,
        seconds=round(time.monotonic() - began, 3),
    )


def check_packages() -> None:
    """Raise ValueError if a package of the extra `onnx` is missing."""
    missing = [
        name for name in REQUIRED_PACKAGES if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ValueError(
            f"export needs {', '.join(missing)}: pip install 'chainrule[onnx]'"
        )


def check_family(density: TableDensity) -> None:
    """Raise ValueError if a model of this family cannot be exported."""
    family = registry.family_name(density.model)
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
    """Module that computes the log-probabilities of encoded rows; what is exported.

    Args:
        density: The density to export.
    """

    columns: Tensor  # (dim, columns), 1 where a variable belongs to a column

    def __init__(self, density: TableDensity) -> None:
        super().__init__()
        self.model = density.model
        owners = torch.tensor(
            [variable.column_index for variable in density.model.variables]
        )
        table = nn.functional.one_hot(owners, len(density.columns)).double()
        self.register_buffer("columns", table)

    def forward(self, x: Tensor, log_abs_det: Tensor) -> tuple[Tensor, Tensor]:
        """Return log_prob, (rows,), and column_log_prob, (rows, columns), in nats.

        Args:
            x: Variables, (rows, dim), float32; NaN where absent.
            log_abs_det: Log-determinant of the encoding, (rows, columns), in nats,
                float64.
        """
        column_log_prob = (
            self.model.variable_log_prob(x).double() @ self.columns + log_abs_det
        )
        return column_log_prob.sum(-1), column_log_prob


def build_graph(density: TableDensity) -> bytes:
    """Return the serialized ONNX model of a density."""
    rows = torch.export.Dim("rows", min=1)
    x, log_abs_det = sample_encoded(density, 2)
    with warnings.catch_warnings():
        # torch.onnx warns about deprecated calls of its own.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Likelihood(density).eval(),
            (torch.from_numpy(x), torch.from_numpy(log_abs_det)),
            input_names=["x", "log_abs_det"],
            output_names=["log_prob", "column_log_prob"],
            dynamic_shapes=({0: rows}, {0: rows}),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # never None with dynamo=True
    proto = program.model_proto
    if not all(
        entry.type.tensor_type.shape.dim[0].dim_param for entry in proto.graph.input
    ):
        raise ValueError(
            f"torch {torch.__version__} exports this {type(density.model).__name__} "
            "for a fixed number of rows only; score with the registered model instead"
        )
    proto.producer_name = "chainrule"
    for key, value in describe_inputs(density).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    content: bytes = proto.SerializeToString()
    return content


def describe_inputs(density: TableDensity) -> dict[str, str]:
    """Return the metadata of the file about its inputs, as JSON by key."""
    encoder = density.encoder
    variables = [
        {
            "name": variable.name,
            "kind": variable.kind,
            "column": encoder.names[variable.column_index],
        }
        for variable in encoder.variables
    ]
    content = {
        "columns": encoder.names,
        "variables": variables,
        "encoder": encoder.to_dict(),
        "fingerprints": density.info["fingerprints"],
    }
    return {f"chainrule.{name}": json.dumps(item) for name, item in content.items()}


def sample_encoded(
    density: TableDensity, rows: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows from the model and encode them.

    Args:
        density: The model.
        rows: Number of rows.
        seed: Random seed.

    Returns:
        x, (rows, dim), float32, and log_abs_det, (rows, columns), float64.
    """
    encoded = density.encoder.encode(Sampler(density).sample(rows, seed=seed))
    return encoded.x, encoded.log_abs_det


def max_difference(density: TableDensity, content: bytes) -> float:
    """Return the largest difference of a graph's log-probabilities from the model's.

    Args:
        density: The model.
        content: The serialized ONNX model.

    Returns:
        The difference in nats; infinite where one of them is NaN.
    """
    import onnxruntime  # an optional dependency that only the export needs

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    x, log_abs_det = sample_encoded(density, CHECKED_ROWS, seed=1)
    half = len(x) // 2
    # Cells out of support are NaN.
    x[half:][np.random.default_rng(0).random(x[half:].shape) < 0.1] = np.nan
    module = Likelihood(density).eval()
    largest = 0.0
    # A single row and the others: the graph must accept any number of rows.
    for rows in (slice(0, 1), slice(1, len(x))):
        with torch.inference_mode():
            expected = module(*map(torch.from_numpy, (x[rows], log_abs_det[rows])))
        actual = session.run(None, {"x": x[rows], "log_abs_det": log_abs_det[rows]})
        for output, reference in zip(actual, expected, strict=True):
            difference = float(np.abs(output - reference.numpy()).max())
            largest = np.inf if np.isnan(difference) else max(largest, difference)
    return largest
