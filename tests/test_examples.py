"""The data that travel with the package: whole, as they are said to be, and part of what is installed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from precision import PrecisionError
from precision.data import prepare
from precision.examples import EXAMPLES, ROBYN_EXPOSURE, load_example

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "precision" / "examples_data"
NAMES = list(EXAMPLES)


def test_without_a_name_the_list():
    table = load_example()
    assert list(table.index) == NAMES == ["tacticals_12", "robyn_weekly"]
    assert table.loc["tacticals_12", "truth"] == "known" and table.loc["robyn_weekly", "truth"] == "unknown"
    for name, row in table.iterrows():
        assert (row.weeks, row.tacticals) == load_example(name).U.shape


@pytest.mark.parametrize("wrong, hint", [("tacticals12", "Did you mean 'tacticals_12'?"), ("sales", "Choose from"), (3, "Choose from"), ("", "Choose from")])
def test_a_wrong_name_is_answered_with_the_right_ones(wrong, hint):
    with pytest.raises(PrecisionError, match="example=") as said:
        load_example(wrong)
    assert hint in str(said.value) and all(name in str(said.value) for name in NAMES)


@pytest.mark.parametrize("name, periods, tacticals, channels, controls", [
    ("tacticals_12", 156, 12, ["tv", "search", "social", "display"], ["price", "promo", "competitor", "trend"]),
    ("robyn_weekly", 208, 6, ["offline", "online", "own"], ["competitors", "event1", "event2"])])
def test_shapes_and_names(name, periods, tacticals, channels, controls):
    e = load_example(name)
    assert e.name == name and e.U.shape == (periods, tacticals) and e.y.shape == (periods,)
    assert e.hierarchy.names["channel"] == channels and list(e.Z) == controls
    assert list(e.U) == e.hierarchy.names["tactical"]
    assert name in repr(e) and f"{periods} weeks" in repr(e)


@pytest.mark.parametrize("name", NAMES)
def test_the_data_pass_the_door_as_they_are(name):
    e = load_example(name)
    data = prepare(e.hierarchy, e.y, e.U, e.Z, e.spend)
    assert np.array_equal(data.y, e.y) and np.array_equal(data.U, e.U)
    assert (np.diff(e.y.index) == pd.Timedelta(weeks=1)).all() and e.y.index[0].weekday() == 0


def test_one_caller_cannot_spoil_the_data_of_the_next():
    e = load_example("tacticals_12")
    e.y.iloc[:] = 0
    e.U.iloc[:] = 0
    assert load_example("tacticals_12").y.min() > 0 and load_example("tacticals_12").U.to_numpy().sum() > 0


def test_the_truth_agrees_with_its_contributions():
    e = load_example("tacticals_12")
    weights = e.truth.parameters.decay.to_numpy()[:, None] ** np.arange(8)
    weights /= weights.sum(axis=1, keepdims=True)
    for k, (name, row) in enumerate(e.truth.parameters.iterrows()):
        adstock = np.convolve(e.U[name] / e.U[name].max(), weights[k])[:len(e.y)]
        curve = (1 - np.exp(-row.saturation * adstock)) / (1 + np.exp(-row.saturation * adstock))
        assert np.allclose(row["size"] * curve, e.truth.contributions[name], rtol=1e-9)
    assert list(e.truth.contributions) == list(e.truth.parameters.index) == list(e.U)
    assert e.truth.contributions.index.equals(e.y.index)
    assert np.isclose(e.truth.contributions.to_numpy().sum() / e.y.sum(), 0.506831389)


def test_the_shop_is_that_of_the_file():
    e, raw = load_example("robyn_weekly"), pd.read_csv(FOLDER / "robyn_weekly.csv")
    assert e.truth is None and np.array_equal(e.y, raw.revenue)
    assert all(np.array_equal(e.U[ours], raw[theirs]) for theirs, ours in ROBYN_EXPOSURE.items())
    assert "newsletter" not in e.spend and np.array_equal(e.spend["facebook"], raw.facebook_S)
    assert list(e.Z.index[e.Z.event1 == 1].strftime("%Y-%m-%d")) == ["2018-05-21"]
    assert list(e.Z.index[e.Z.event2 == 1].strftime("%Y-%m-%d")) == ["2019-04-22"]


def test_loading_is_light():
    program = "import sys; from precision.examples import load_example; load_example(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "tensorflow_probability", "arviz", "matplotlib"} & set(loaded)


def test_the_files_go_with_the_package():
    "In the wheel by setup.py, in the source archive by MANIFEST.in, and with their licences."
    assert 'package_data={settings["lib_path"]: ["examples_data/*"]}' in (ROOT / "setup.py").read_text()
    assert "recursive-include precision/examples_data *" in (ROOT / "MANIFEST.in").read_text()
    assert "examples_data" in (ROOT / ".ci" / "check_wheel.py").read_text()
    held = {file.name for file in FOLDER.iterdir()}
    assert held == {"README.md", "robyn_weekly.csv", "tacticals_12.csv", "tacticals_12_contributions.csv", "tacticals_12_parameters.csv"}
    told = (FOLDER / "README.md").read_text()
    assert all(file in told for file in held - {"README.md"}) and "MIT License" in told and "Apache 2.0" in told


def test_no_page_needs_a_file_that_a_reader_has_not():
    for path in (ROOT / "nbs").rglob("*.ipynb"):
        assert "shared/data" not in path.read_text(encoding="utf-8"), path.name
