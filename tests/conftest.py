"""The tests run on the installed package, and refuse one that differs from this checkout."""

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / ".ci"))


def repeatable(config):
    "Cases made by hypothesis are the same in every run, unless `--hypothesis-seed` (or a profile) asks for others."
    chosen = config.getoption("--hypothesis-seed", None) is not None
    settings.register_profile("gate", derandomize=not chosen, print_blob=True, deadline=None, database=None)
    if config.getoption("--hypothesis-profile", None) is None:
        settings.load_profile("gate")


def pytest_configure(config):
    repeatable(config)
    spec = importlib.util.find_spec("precision")
    if spec is None or spec.origin is None:
        pytest.exit("Precision is not installed: pip install -e '.[dev]'", returncode=3)
    installed = Path(spec.origin).parent
    source = {file.name: file.read_bytes() for file in (ROOT / "precision").glob("*.py")}
    if source != {file.name: file.read_bytes() for file in installed.glob("*.py")}:
        pytest.exit(f"{installed} differs from {ROOT / 'precision'}: install it again, best with -e", returncode=3)


@pytest.fixture(scope="session", autouse=True)
def xla_as_in_a_fit():
    "XLA reads its flags once a process; a test may run programs of its own before the first fit."
    from precision.program import instruct_xla

    instruct_xla()
