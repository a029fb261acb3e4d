"""The smallest fits there are: every question gets an answer, or one `PrecisionError` that says what is needed."""

import inspect
import io
import tracemalloc
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from precision import MMM, Fit, PrecisionError
from precision.calibration import calibrate
from precision.comparison import compare, plot_comparison
from precision.ensemble import EnsembleResult, ensemble
from precision.hierarchy import build_hierarchy
from precision.model import Prior
from precision.simulate import simulate
from precision.validation import cross_validate, leave_future_out

pytestmark = pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")

TREE = build_hierarchy({"tv": {"linear": ["a", "b"]}, "search": {"google": ["c"]}})
ONE = build_hierarchy(["tv"], levels=["channel"])
SIMS = {h: simulate(h, periods=40, seed=1, controls=["price"]) for h in (TREE, ONE)}
STILL = {"baseline": "none"}
WORLDS = {  # (tree, with controls, with spend, options)
    "plain": (TREE, True, True, {}), "no controls": (TREE, False, True, {}), "no spend": (TREE, True, False, {}),
    "nothing but media": (TREE, False, False, STILL), "one tactical": (ONE, True, True, {}),
    "one, and nothing else": (ONE, False, False, STILL | {"saturation": "none", "past": "nothing"}),
    "memory and tails": (TREE, False, True, STILL | {"residual": "ar1", "likelihood": "student_t"}),
}
SIZES = [(1, 1), (2, 2)]
SMALLEST = [(1, 1)]  # where two chains of two draws ask nothing new
NEEDS = {  # what may be refused: the sentence that says why, by what is missing
    "a second draw": "take more, like MMM.fit(..., draws=1000)", "spend": "pass spend= to MMM.fit",
    "lift tests": "experiments=[LiftTest(...)]", "cost targets": "experiments=[CostTarget(...)]",
}


def of_worlds(*names, sizes=SIZES):
    return pytest.mark.parametrize("world", [(name, size) for name in names for size in sizes], indirect=True, ids=lambda p: f"{p[0]}, {p[1][0]} x {p[1][1]}")


@pytest.fixture(scope="module")
def world(request):
    name, (chains, draws) = request.param
    tree, controls, spend, options = WORLDS[name]
    sim, mmm = SIMS[tree], MMM(tree, **options)
    data = SimpleNamespace(y=sim.y, U=sim.U, Z=sim.Z if controls else None, spend=sim.spend if spend else None)
    short = dict(chains=chains, warmup=3, draws=draws, progress=False, seed=1)
    return SimpleNamespace(mmm=mmm, data=vars(data), short=short, name=name, many=draws > 1, fit=mmm.fit(**vars(data), holdout=3, **short),
                           prior=mmm.sample_prior(**vars(data), draws=draws), paid=spend)


DECISIONS = {"evaluate", "optimize", "frontier", "risk_frontier", "next_experiment", "disagreement", "plan"}  # of a plan: tests of their own


def swept(world, thing, folder):
    "Ask everything; [(question, sentence)] of what was refused. Anything but a `PrecisionError` ends the test."
    later, refused = SIMS[world.mmm.hierarchy], []
    ahead = {"U_new": later.U[-3:], "Z_new": None if world.data["Z"] is None else later.Z[-3:]}
    given = {"predict": ahead, "predict_contributions": {"U_new": ahead["U_new"]}, "predict_decomposition": ahead,
             "prior_vs_posterior": {"draws": 20}, "plot_priors": {"draws": 20}, "save": {"path": folder / "kept"}}

    def ask(name, question):
        try:
            return question()
        except PrecisionError as error:
            refused.append((name, str(error)))
        finally:
            plt.close("all")

    for name, _ in inspect.getmembers(type(thing)):
        if not name.startswith("_") and name not in {"load", "beside"} | DECISIONS:
            member = ask(name, lambda: getattr(thing, name))
            answer = ask(name, lambda: member(**given.get(name, {}))) if callable(member) and not hasattr(member, "dims") else member
            if type(answer).__module__.startswith("precision") and hasattr(answer, "plot"):  # a checkup, a forecast
                ask(f"{name}.plot", lambda: np.ravel(answer.plot())[0].get_figure().savefig(io.BytesIO())), repr(answer)
            if hasattr(member, "__code__") or callable(member):
                if "draws" in inspect.signature(member).parameters and name not in given | {"draws": 0} and "level" in inspect.signature(member).parameters:
                    ask(name, lambda: member(draws=True))
    repr(thing)
    return refused


def unexpected(world, refused):
    reasons = [NEEDS["lift tests"], NEEDS["cost targets"]] + [NEEDS["spend"]] * (not world.paid) + [NEEDS["a second draw"]] * (not world.many)
    return [(name, sentence) for name, sentence in refused if not any(reason in sentence for reason in reasons)]


@of_worlds(*WORLDS, sizes=SMALLEST)
def test_a_small_fit_answers(world, tmp_path):
    refused = swept(world, world.fit, tmp_path)
    assert not unexpected(world, refused)
    assert world.many or {name for name, sentence in refused if NEEDS["a second draw"] in sentence} == {"check", "loo"}
    assert not unexpected(world, swept(world, Fit.load(tmp_path / "kept"), tmp_path))


@of_worlds(*WORLDS, sizes=SMALLEST)
def test_a_small_prior_answers(world, tmp_path):
    assert isinstance(world.prior, Prior) and not unexpected(world, swept(world, world.prior, tmp_path))


@of_worlds("plain", sizes=[(2, 2)])
def test_a_fit_of_two_draws_answers(world, tmp_path):
    assert not unexpected(world, swept(world, world.fit, tmp_path)) and not unexpected(world, swept(world, world.prior, tmp_path))


@of_worlds("plain", "nothing but media", sizes=[(2, 2)])
def test_exact_densities_of_a_small_fit(world):
    world.fit.loo(exact=True)


MAKES = {
    "ensemble": lambda w: ensemble(w.mmm.hierarchy, w.data["y"], {"views": w.data["U"], "clicks": w.data["U"] + 1}, w.data["Z"], spend=w.data["spend"], mmm=w.mmm, **w.short),
    "cross_validate": lambda w: cross_validate(w.mmm, **w.data, horizon=3, folds=2, **w.short),
    "leave_future_out": lambda w: leave_future_out(w.mmm, **w.data, first=38, **w.short),
    "calibrate": lambda w: calibrate(w.mmm, **w.data, sets=1, ranked_among=1, **w.short),
    "compare": lambda w: plot_comparison(compare({"a": w.fit, "b": w.fit})),
}


@pytest.mark.parametrize("make", MAKES)
@of_worlds("plain", "one, and nothing else")
def test_what_is_made_of_small_fits_answers(world, make, tmp_path):
    try:
        made = MAKES[make](world)
    except PrecisionError as error:
        assert not world.many and NEEDS["a second draw"] in str(error)
    else:
        assert make == "compare" or not unexpected(world, swept(world, made, tmp_path))
        assert make != "ensemble" or isinstance(EnsembleResult.load(tmp_path / "kept"), EnsembleResult)


def test_draws_of_all_nodes_need_the_memory_of_their_result_and_little_more():
    many = build_hierarchy([f"line {i}" for i in range(60)], levels=["channel"])
    sim = simulate(many, periods=60, seed=1)
    prior = MMM(many, baseline="none").sample_prior(sim.y, sim.U, draws=400)
    expected = np.stack([draws for _, draws in prior.components.media("channel")], axis=-1)
    tracemalloc.start()
    try:
        result = prior.contributions("channel", draws=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.3 * result.nbytes
    assert np.array_equal(result.values.reshape(expected.shape), expected) and list(result.node.values) == many.names["channel"]
