"""What was made travels: as a pickle, a copy, a file, to another process; before any question and after all, and answers the same."""

import copy
import inspect
import multiprocessing
import os
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor
from operator import methodcaller

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tensorflow_probability as tfp
import xarray as xr

from precision import MMM, CostTarget, Fit, LiftTest, Priors, controls
from precision.calibration import calibrate
from precision.data import prepare
from precision.ensemble import EnsembleResult, ensemble
from precision.hierarchy import build_hierarchy
from precision.saturation import SATURATIONS, Saturation
from precision.simulate import simulate
from precision.validation import cross_validate, leave_future_out

pytestmark = pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")  # short runs, on purpose

TREE = build_hierarchy({"tv": {"linear": ["a", "b"]}, "search": {"google": ["c"]}})
SIM = simulate(TREE, periods=64, seed=1, controls=["price", "promotion"])
WEEKS, SHORT = SIM.y.index, dict(chains=2, warmup=30, draws=20, seed=1, progress=False)
LATER = pd.date_range(WEEKS[-1], periods=5, freq="7D")[1:]


def by_file(fit, folder):
    fit.save(folder / "kept")
    return type(fit).load(folder / "kept")


def by_buffers(thing, folder):
    "As joblib and Dask do: arrays beside the pickle."
    beside = []
    (folder / "thing").write_bytes(pickle.dumps(thing, protocol=5, buffer_callback=beside.append))
    return pickle.loads((folder / "thing").read_bytes(), buffers=[bytearray(one.raw()) for one in beside])


WAYS = {
    "pickle": lambda thing, folder: pickle.loads(pickle.dumps(thing)),
    "old pickle": lambda thing, folder: pickle.loads(pickle.dumps(thing, protocol=2)),
    "deepcopy": lambda thing, folder: copy.deepcopy(thing),
    "buffers": by_buffers,
}


def same(a, b):
    "Equal to the last bit."
    if isinstance(a, (pd.DataFrame, pd.Series)):
        return a.equals(b) and list(a.index) == list(b.index)
    if isinstance(a, (xr.DataArray, xr.Dataset)):
        return a.identical(b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b, equal_nan=True)
    return repr(a) == repr(b)


BY_ARVIZ = ("pareto", "k")  # its sums over a slice depend on where in memory the slice begins


def same_answer(name, a, b):
    return same(a, b) or name in BY_ARVIZ and np.allclose(a, b, rtol=1e-9, equal_nan=True)


def fitted(**options):
    mmm = MMM(TREE, **options)
    tests = [LiftTest("tv", WEEKS[20], WEEKS[23], lift=1e5, se=1e5, change=-0.5)] + [CostTarget("tv", 1.0, 1.0)] * ("effect" not in options)
    return mmm.fit(SIM.y, SIM.U, SIM.Z, SIM.spend, U_history=SIM.U[:4].to_numpy(), experiments=tests, holdout=4, **SHORT)


BELIEFS = Priors(media_share=tfp.distributions.Beta(2.0, 6.0), roi={"tv": tfp.distributions.LogNormal(0.4, 0.4)})
FITS = {
    "default": {}, "hill": {"saturation": "hill", "likelihood": "student_t", "baseline": "none", "residual": "ar1", "past": "steady"},
    "efficiency": {"measure": "efficiency", "effect": "real", "pooling": "channel", "saturation": "logistic"},
    "believed": {"saturation": "none", "priors": BELIEFS},
}


@pytest.fixture(scope="module", params=FITS)
def fit(request):
    return fitted(**FITS[request.param])


SKIPPED = {"save", "load", "sample_shape", "timing", "drawn", "mmm", "data",
           "evaluate", "optimize", "frontier", "risk_frontier", "next_experiment"}  # of a plan: tests of their own
GIVEN = {"predict": lambda fit: {"U_new": SIM.U[-4:], "Z_new": SIM.Z[-4:]},
         "predict_contributions": lambda fit: {"U_new": SIM.U[-4:]}, "predict_decomposition": lambda fit: {"U_new": SIM.U[-4:], "Z_new": SIM.Z[-4:]},
         "prior_vs_posterior": lambda fit: {"draws": 50}, "plot_priors": lambda fit: {"draws": 50}}


def questions(kind):
    return [name for name, _ in inspect.getmembers(kind) if not name.startswith("_") and name not in SKIPPED]


def ask(thing, name):
    "The answer to a question; of a picture only that it can be drawn."
    answer = getattr(thing, name)
    if callable(answer) and not hasattr(answer, "dims"):
        answer = answer(**GIVEN.get(name, lambda _: {})(thing))
    plt.close("all")
    return None if name.startswith("plot") else answer


def answers(fit):
    "Every table that a fit answers with, by question."
    told = {name: ask(fit, name) for name in questions(type(fit)) if not name.startswith("plot") and name not in ("check", "loo", "cost_targets")}
    checkup = fit.check()
    told |= {"scores": checkup.scores, "contraction": checkup.contraction, "pareto": checkup.pareto_k, "ahead": fit.holdout.draws, "k": np.asarray(fit.loo().pareto_k)}
    if len(fit.experiments) > 1:
        told["cost_targets"] = fit.cost_targets()
    return {name: answer for name, answer in told.items() if isinstance(answer, (pd.DataFrame, pd.Series, xr.DataArray, xr.Dataset, np.ndarray))}


def test_a_fit_that_was_asked_nothing_and_one_that_was_asked_all_travel_and_answer_the_same(fit, tmp_path):
    travelled = {way: go(fit, tmp_path) for way, go in WAYS.items()}
    expected = answers(fit)
    assert len(expected) > 15
    travelled |= {"pickle, asked": WAYS["pickle"](fit, tmp_path), "file": by_file(fit, tmp_path)}
    travelled["file and pickle"] = WAYS["pickle"](travelled["file"], tmp_path)
    for way in ("pickle", "pickle, asked", "file and pickle"):
        told = answers(travelled[way])
        assert told.keys() == expected.keys()
        assert not [name for name in told if not same_answer(name, told[name], expected[name])], way
    for way in travelled.keys() - {"pickle", "pickle, asked", "file and pickle"}:
        assert same(travelled[way].roi(), expected["roi"]) and same(ask(travelled[way], "prior_vs_posterior"), expected["prior_vs_posterior"]), way


@pytest.fixture(scope="module")
def small():
    return fitted()


@pytest.mark.parametrize("question", questions(Fit))
def test_a_fit_travels_after_each_question(small, question, tmp_path):
    fresh = pickle.loads(pickle.dumps(small))
    ask(fresh, question)
    copied = pickle.loads(pickle.dumps(fresh))
    copy.deepcopy(fresh)
    assert same(copied.roi(), small.roi())


def made(fit):
    "Everything else that people keep, by name."
    mmm, data = MMM(TREE, BELIEFS), (SIM.y, SIM.U, SIM.Z, SIM.spend)
    several = ensemble(TREE, SIM.y, {"views": SIM.U, "clicks": SIM.U + 1}, SIM.Z, spend=SIM.spend, **SHORT)
    return {
        "mmm": mmm, "hierarchy": TREE, "priors": BELIEFS, "prior": mmm.sample_prior(*data, draws=40), "simulation": SIM,
        "dataset": mmm.prepared(prepare(TREE, *data)), "posterior": mmm.posterior(mmm.prepared(prepare(TREE, *data))),
        "ensemble": several, "folds": cross_validate(MMM(TREE), *data, horizon=4, folds=2, **SHORT),
        "lfo": leave_future_out(MMM(TREE), *data, first=62, **SHORT), "checkup": fit.check(), "forecast": fit.holdout,
        "ranks": calibrate(MMM(TREE), *data, sets=2, ranked_among=9, chains=1, warmup=30, draws=10, progress=False),
        "waves": controls.fourier(WEEKS), "holidays": controls.holidays(WEEKS, "DE"), "events": controls.events(WEEKS, {"launch": "2022-05-01"}),
        "trend": controls.trend_knots(WEEKS), "level": controls.local_level(WEEKS),
        "several controls": controls.fourier(WEEKS) + controls.trend_knots(WEEKS),
    }


@pytest.fixture(scope="module")
def things(small):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return made(small)


SAID = {  # what each is asked: whatever it answers, its copy answers too
    "mmm": [repr, lambda m: m.options], "hierarchy": [str, lambda h: h.to_frame()], "priors": [repr, lambda p: p.media_share.support],
    "prior": [repr, lambda p: p.media_share(), lambda p: p.roi(), lambda p: p.summary(), lambda p: p.plot() is None, lambda p: p.fitted()],
    "simulation": [lambda s: s.y, lambda s: s.to_frame()], "dataset": [lambda d: d.x, lambda d: d.unit, lambda d: d.before, lambda d: d.share],
    "posterior": [lambda p: p.dimension, lambda p: p.log_density(np.zeros([1, p.dimension]), p.inputs).numpy()],
    "ensemble": [repr, lambda e: e.roi(), lambda e: e.loo(), lambda e: e.fitted(), lambda e: e.decay_rates(), lambda e: e.by_metric()],
    "folds": [repr, lambda c: c.scores, lambda c: c.predictions, lambda c: c.plot() is None], "lfo": [repr, lambda f: f.table, lambda f: f.elpd],
    "checkup": [repr, lambda c: c.to_frame(), lambda c: c.plot() is None], "forecast": [repr, lambda f: f.table(), lambda f: f.scores()],
    "ranks": [repr, lambda r: r.uniformity(), lambda r: r.plot() is None],
    **dict.fromkeys(("waves", "holidays", "events", "trend", "level", "several controls"), [lambda c: c.frame, lambda c: c.at(LATER).frame, lambda c: c.sd]),
}


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("way", WAYS)
def test_whatever_is_kept_travels_and_answers_the_same(things, name, way, tmp_path):
    thing = things[name]
    before = WAYS[way](thing, tmp_path)
    expected = [question(thing) for question in SAID[name]]
    for copied in (before, WAYS[way](thing, tmp_path)):
        assert all(same(question(copied), answer) for question, answer in zip(SAID[name], expected))
    plt.close("all")


def test_all_that_is_kept_is_asked(things):
    assert set(SAID) == set(things)


def test_a_loaded_ensemble_answers_the_same(things, tmp_path):
    several = things["ensemble"]
    several.save(tmp_path / "kept")
    loaded = EnsembleResult.load(tmp_path / "kept")
    for copied in (loaded, pickle.loads(pickle.dumps(loaded))):
        assert all(same(question(copied), question(several)) for question in SAID["ensemble"])


def test_a_curve_travels_by_name_and_one_of_your_own_by_what_it_is_made_of():
    for curve in SATURATIONS.values():
        assert pickle.loads(pickle.dumps(curve)) is curve is copy.deepcopy(curve)
    own = Saturation("root", (), np.emath.power)
    assert pickle.loads(pickle.dumps(own)) == own
    impostor = Saturation("hill", (), np.emath.power)
    assert pickle.loads(pickle.dumps(impostor)) == impostor != SATURATIONS["hill"]


def test_a_fit_goes_to_a_process_that_was_spawned_and_answers_there_with_the_same_numbers(small, things):
    small.roi(), small.check()
    spawn, loads = multiprocessing.get_context("spawn"), {"TF_CPP_MIN_LOG_LEVEL": "3"}
    os.environ |= loads
    with ProcessPoolExecutor(1, mp_context=spawn) as workers:
        there = {name: workers.submit(methodcaller(name, **GIVEN.get(name, lambda _: {})(small)), small) for name in ("roi", "predict", "prior_vs_posterior", "loo")}
        mixture, again = workers.submit(methodcaller("roi"), things["ensemble"]), workers.submit(methodcaller("__copy__"), small.check().to_frame())
        told = {name: answer.result(300) for name, answer in there.items()}
        assert same(mixture.result(300), things["ensemble"].roi()) and same(again.result(300), small.check().to_frame())
    for name in ("roi", "predict", "prior_vs_posterior"):
        assert same(told[name], ask(small, name))
    assert same(np.asarray(told["loo"].pareto_k), np.asarray(small.loo().pareto_k))
