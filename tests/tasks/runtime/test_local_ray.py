"""Tests of who may use the Ray that a command starts on its machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

OWNER = """
import subprocess, sys
from tasks.runtime import environment
environment.configure(sys.argv[1])
import ray
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.readline()
"""

STRANGER = """
import sys, ray
ray.init(sys.argv[1], log_to_driver=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "own", [{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}, {}]
)
def test_a_process_without_the_secret_cannot_use_a_local_ray(
    tmp_path: Path, own: dict[str, str]
) -> None:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("RAY_A")}
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        env=plain,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    try:
        address = owner.stdout.readline().strip()
        assert address
        stranger = subprocess.run(
            [sys.executable, "-c", STRANGER, address],
            env={**plain, "HOME": str(tmp_path), **own},
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        owner.communicate("\n", timeout=60)

    assert stranger.returncode != 0
    assert "Connect" in stranger.stderr or "auth" in stranger.stderr.lower()
