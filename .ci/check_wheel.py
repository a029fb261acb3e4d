"""Check the installed wheel: it holds every module and the example data, and each imports without a development package."""

import importlib
import os
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
modules = {f"precision/{file.name}" for file in (ROOT / "precision").glob("*.py")}
data = {f"precision/examples_data/{file.name}" for file in (ROOT / "precision" / "examples_data").iterdir()}
packed = {name for name in zipfile.ZipFile(sys.argv[1]).namelist() if ".dist-info/" not in name}
assert packed == modules | data, f"the wheel and the package differ in {sorted(packed ^ (modules | data))}"

installed = {distribution.metadata["Name"].lower() for distribution in distributions()}
assert not installed & {"nbdev", "fastcore", "pytest", "ipython"}, "development packages came along"

os.chdir("/")  # so that the installed package is imported, not the checkout
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() not in (ROOT, ROOT / ".ci")]
for name in sorted(Path(module).stem for module in modules):
    module = importlib.import_module("precision" if name == "__init__" else f"precision.{name}")
    assert ROOT not in Path(module.__file__).parents, f"{module.__file__} is not the installed one"
examples = importlib.import_module("precision.examples")
assert all(len(examples.load_example(name).y) for name in examples.EXAMPLES), "an example does not load"
print(f"{len(modules)} modules import, {len(examples.EXAMPLES)} examples load")
