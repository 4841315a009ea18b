import subprocess
import sys


def test_choices_are_read_without_torch() -> None:
    code = "import sys, ar_models.scoring.choices; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
