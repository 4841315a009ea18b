import subprocess
import sys


def test_styles_are_read_without_arrow() -> None:
    code = (
        "import sys, ar_models.tables.key_styles; assert 'pyarrow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
