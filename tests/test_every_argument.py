"""Every argument of what people call, replaced by what nobody meant, one at a time: the call works, or the error is ours.

Switches (True or False) and axes are left out: Python's own words about them are clear."""

import inspect
import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from precision import CostTarget, MMM, Fit, LiftTest, PrecisionError, Priors, controls
from precision.hierarchy import build_hierarchy
from precision.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")  # short runs, on purpose

ODD = [5, -1, 1.5, None, [], {}, "x", "", np.array([1, 2]), pd.Series([1.0, 2]), ["a", "b"], object(), np.nan, True, (1, 2), pd.NaT,
       np.array(["a", "b"]), float("inf"), {"a": 1}, [None], [[1]], b"x", lambda: 1, pd.DataFrame({"a": [1]}), io.StringIO(), "a", "channel"]
SWITCHES = {"self", "ax", "together", "exact", "progress", "qualify", "break_even"}
TREE = build_hierarchy({"tv": {"linear": ["a", "b"]}, "search": {"google": ["c"]}})
SIM = simulate(TREE, periods=60, seed=1, controls=["price"])
WEEKS = SIM.y.index


def swept(call, skip=(), **given):
    "Call with each odd value for each argument; what was raised that is none of ours."
    call(**given)  # as it is meant, it works
    raised = []
    for name, parameter in inspect.signature(call).parameters.items():
        if name in SWITCHES | set(skip) or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        for odd in ODD:
            try:
                call(**given | {name: odd})
            except PrecisionError as error:
                assert str(error).strip()
            except Exception as error:  # noqa: BLE001 - this is what is looked for
                raised.append(f"{name}={odd!r:.40}: {type(error).__name__}: {error!s:.100}")
            plt.close("all")
    return raised


@pytest.mark.parametrize(("call", "given"), [
    (simulate, {}),
    (Priors, {}),
    (build_hierarchy, {"tree": {"tv": {"linear": ["a"]}}}),
    (MMM, {"hierarchy": TREE}),
    (controls.fourier, {"dates": WEEKS}),
    (controls.holidays, {"dates": WEEKS, "country": "DE"}),
    (controls.events, {"dates": WEEKS, "when": {"launch": "2022-05-01"}}),
    (controls.trend_knots, {"dates": WEEKS}),
    (controls.local_level, {"dates": WEEKS}),
    (MMM(TREE).sample_prior, {"y": SIM.y, "U": SIM.U, "Z": SIM.Z, "spend": SIM.spend, "draws": 10}),
], ids=lambda value: getattr(value, "__name__", ""))
def test_before_a_fit(call, given):
    assert not swept(call, **given)


@pytest.fixture(scope="module")
def fit():
    tested = LiftTest("tv", WEEKS[20], WEEKS[23], lift=1e5, se=1e5, change=-0.5)
    return MMM(TREE).fit(SIM.y, SIM.U, SIM.Z, SIM.spend, chains=2, warmup=100, draws=50, seed=1, progress=False, experiments=[tested, CostTarget("tv", 1.0, 1.0)])


def test_options_of_a_fit(tmp_path, monkeypatch):
    "The data are swept by the fuzz tests; a fit that begins is a short one."
    monkeypatch.chdir(tmp_path)  # names of files
    given = {"y": SIM.y, "U": SIM.U, "Z": SIM.Z, "spend": SIM.spend, "chains": 1, "warmup": 5, "draws": 5, "progress": False, "max_draws": 20}
    assert not swept(MMM(TREE).fit, skip=("y", "U", "Z", "spend", "U_history", "holdout"), **given)


QUESTIONS = [name for name, member in inspect.getmembers(Fit, callable) if not name.startswith(("_", "plot_")) and name != "check"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_to_a_fit(fit, question, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = getattr(fit, question)
    fit.save(tmp_path / "fit.nc")
    expected = inspect.signature(call).parameters
    later = pd.date_range(WEEKS[-1], periods=5, freq="7D")[1:]
    data = {"U_new": SIM.U[-4:].set_axis(later), "Z_new": SIM.Z[-4:].set_axis(later), "path": tmp_path / "fit.nc"}
    assert not swept(call, skip=("draws",) * (question != "prior_vs_posterior"), **{name: data[name] for name in data if name in expected})


@pytest.mark.parametrize("picture", [name for name in dir(Fit.plot.fget) if not name.startswith("_")])
def test_pictures_of_a_fit(fit, picture):
    assert not swept(getattr(fit.plot, picture), skip=("draws",))
