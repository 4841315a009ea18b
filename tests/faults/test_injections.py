"""Seeded faults of all kinds: the right result or one clear error, and no hand needed.

`make check-faults` injects 200 and shows how they ended, by kind.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support import faults
from tests.support.fault_jobs import (
    JOBS,
    Undisturbed,
    make_workspace,
    run_undisturbed,
)
from tests.support.injections import KINDS, Kind
from tests.support.local_jobs import local_jobs
from tests.support.pipeline import Pipeline
from tests.support.process_faults import (
    COMMANDS,
    PROCESS_KINDS,
    CommandTrial,
    ProcessKind,
)
from tests.support.trial import GOOD, Finding, Trial, to_table

ALL_KINDS: tuple[Kind | ProcessKind, ...] = (*KINDS, *PROCESS_KINDS)
"""Kinds of faults; as many injections in a row cover all of them."""

ORDER = np.random.default_rng(0).permutation(len(ALL_KINDS))
"""Places of the kinds in the order in which they are injected."""

FINDINGS: list[Finding] = []
"""Verdicts on the injections of this process."""


def kind_of(number: int) -> Kind | ProcessKind:
    """Return the kind of an injection."""
    return ALL_KINDS[ORDER[number % len(ALL_KINDS)]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    first, count = map(int, metafunc.config.getoption("--injections").split("+"))
    wanted = ProcessKind if "commands" in metafunc.fixturenames else Kind
    if "number" in metafunc.fixturenames:
        numbers = range(first, first + count)
        chosen = [n for n in numbers if isinstance(kind_of(n), wanted)]
        metafunc.parametrize("number", chosen)


@pytest.fixture(scope="module")
def undisturbed(
    small_model: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Undisturbed]]:
    """Return what each job does when nothing disturbs it, by name."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with local_jobs():
        yield {
            name: run_undisturbed(name, make_workspace(folder / name, small_model))
            for name in JOBS
        }


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show how the injections ended, at the end of this module."""
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n\n{to_table(FINDINGS)}")


def test_an_injected_fault_ends_well(
    number: int, tmp_path: Path, small_model: str, undisturbed: dict[str, Undisturbed]
) -> None:
    kind, rng = kind_of(number), np.random.default_rng(number)
    assert isinstance(kind, Kind)
    job = kind.jobs[int(rng.integers(len(kind.jobs)))]
    space = make_workspace(tmp_path, small_model)
    if rng.random() < 0.5:
        space = space.keyed()
    expected = undisturbed.get(job, Undisturbed("", {}, 0, 0))
    trial = Trial(job, space, expected, rng)
    kind.inject(trial)
    if kind.repeats:
        trial.repeat()
    finding = trial.finding(kind.name)
    FINDINGS.append(finding)
    assert finding.verdict in GOOD, f"{kind.name}, {job}: {finding.story}"


class Commands:
    """Commands with a registered model, and what they do when nothing disturbs them.

    Attributes:
        pipeline: Where they run.
        parts: The parts that each writes, by name.
        seconds: How long each takes.
    """

    def __init__(self, folder: Path) -> None:
        self.pipeline = Pipeline(folder / "job")
        self.pipeline.complete(["retrain"])
        self.parts: dict[str, dict[str, bytes]] = {}
        self.seconds: dict[str, float] = {}
        for name in COMMANDS:
            began = time.monotonic()
            output = folder / f"undisturbed-{name}"
            process = self.pipeline.start(name, "--output", str(output))
            assert process.wait(timeout=600) == 0
            self.seconds[name] = time.monotonic() - began
            self.parts[name] = faults.parts_of(output)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """Train and register a model, and run the commands undisturbed."""
    return Commands(tmp_path_factory.mktemp("commands"))


@pytest.mark.faults
def test_a_command_outlives_a_fault_or_says_what_has_failed(
    number: int, tmp_path: Path, commands: Commands
) -> None:
    kind, rng = kind_of(number), np.random.default_rng(number)
    assert isinstance(kind, ProcessKind)
    name = COMMANDS[int(rng.integers(len(COMMANDS)))]
    parts, seconds = commands.parts[name], commands.seconds[name]
    output = tmp_path / "output"
    trial = CommandTrial(commands.pipeline, name, output, parts, seconds, rng)
    kind.inject(trial)
    trial.repeat()
    finding = trial.finding(kind.name)
    FINDINGS.append(finding)
    assert finding.verdict in GOOD, f"{kind.name}, {name}: {finding.story}"
