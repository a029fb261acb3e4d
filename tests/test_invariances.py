"""What must not change does not: units, currencies, orders and labels leave the posterior and its components as they were."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from precision.blocks import baseline_design
from precision.data import Controls, prepare
from precision.experiments import LiftTest
from precision.hierarchy import build_hierarchy
from precision.model import MMM
from precision.posterior import build_posterior, evaluate, make_target_log_prob_fn
from precision.priors import Priors
from precision.program import Program
from precision.sampling import prior_values
from precision.simulate import simulate
from precision.summaries import Decomposition, in_users_units

TREE = {"tv": {"linear": ["a", "b"], "streaming": ["c"]}, "web": {"search": ["d", "e"], "social": ["f"]}}
H = build_hierarchy(TREE)
SIM = simulate(H, periods=52, seed=4, controls=["price", "season"])
TABLES = {"y": SIM.y, "U": SIM.U, "Z": SIM.Z, "spend": SIM.spend}
CHOICES = [{}, {"saturation": "hill", "decay": "half_life", "likelihood": "student_t", "residual": "ar1"},
           {"saturation": "logistic", "decay": "beta", "effect": "real", "normalize_adstock": False},
           {"saturation": "none", "pooling": "channel", "residual": "ar1"}, {"pooling": "none", "weights": "equal", "likelihood": "student_t"},
           {"pooling": "sparse", "weights": "learnt"}]
FORMER = {"measure": "efficiency", "weights": "exposure", "baseline": "none", "past": "nothing"}
OPTIONS = CHOICES + [FORMER | chosen for chosen in CHOICES]
factors = st.floats(-6, 6).map(lambda power: 10.0 ** power)
options = st.sampled_from(OPTIONS)
few = settings(max_examples=8, deadline=None)


def posterior_of(tables, hierarchy=H, priors=Priors(), experiments=(), **options):
    data = MMM(hierarchy, priors, **options).prepared(prepare(hierarchy, **tables))
    return build_posterior(data, priors, experiments, **{name: value for name, value in options.items() if name not in ("baseline", "past")})


def points(posterior, seed=0, number=4):
    return np.random.default_rng(seed).normal(0, 0.7, (number, posterior.dimension))


def density(posterior, x):
    return make_target_log_prob_fn(posterior)(x).numpy()


def places(posterior):
    "{free parameter: where it stands in the flat vector}."
    ends = np.cumsum(list(posterior.sizes.values()))
    return {name: np.arange(end - size, end) for (name, size), end in zip(posterior.sizes.items(), ends)}


def moved(one, other, x):
    "The same place in the other's coordinates: directions of a sampled baseline may point the other way."
    if "baseline" not in one.sizes:
        return x
    x, own = x.copy(), places(one)["baseline"]
    x[:, own] *= np.sign((one.inputs["Q"] * other.inputs["Q"][:len(own)]).sum(axis=1))
    return x


def reported(posterior, seed=1):
    "Reported values, and the total contribution of every node, of the same few draws of what is free."
    rng = np.random.default_rng(seed)
    values = prior_values(posterior, 5, rng)
    beta = rng.normal(size=(5, len(baseline_design(posterior.data, posterior.priors)[3])))
    found = {name: value[0] for name, value in in_users_units(posterior, values, beta=beta).items()}
    media = posterior.blocks[2]
    components = Decomposition(posterior.data, media.curve, media.normalize, found)
    totals = {f"total {level}": np.stack([draws.sum(axis=1) for _, draws in components.media(level)], axis=1) for level in posterior.data.hierarchy.levels}
    return found | totals | {"fitted": components.fitted()}


def assert_alike(one, other, grown={}, rtol=1e-6):
    "The reported values of one are those of the other, times what each is said to have grown by."
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(other[name], one[name] * grown.get(name, 1.0), rtol=rtol, atol=1e-300, err_msg=name)


def assert_same_posterior(one, other, rtol=1e-9):
    x = points(one)
    np.testing.assert_allclose(density(other, moved(one, other, x)), density(one, x), rtol=rtol)


@few
@given(factor=factors, chosen=options)
def test_the_unit_of_the_outcome(factor, chosen):
    one, other = posterior_of(TABLES, **chosen), posterior_of(TABLES | {"y": SIM.y * factor}, **chosen)
    assert_same_posterior(one, other)
    in_units = ("intercept", "control_effect", "baseline_effect", "sigma", "fitted", *(f"total {level}" for level in H.levels))
    assert_alike(reported(one), reported(other), dict.fromkeys(in_units, factor))


@few
@given(factor=factors, column=st.sampled_from(list(SIM.U)), chosen=options)
def test_the_unit_of_an_exposure_that_has_spend(factor, column, chosen):
    one, other = posterior_of(TABLES, **chosen), posterior_of(TABLES | {"U": SIM.U.assign(**{column: SIM.U[column] * factor})}, **chosen)
    assert_same_posterior(one, other)
    assert_alike(reported(one), reported(other))


@few
@given(factor=factors, channel=st.sampled_from(H.names["channel"]), chosen=options)
def test_the_unit_of_an_organic_channel(factor, channel, chosen):
    "Without spend, the exposures of one channel are added up, so they share their unit; channels do not."
    bare, own = {k: v for k, v in TABLES.items() if k != "spend"}, H.descendants(channel)
    one, other = posterior_of(bare, **chosen), posterior_of(bare | {"U": SIM.U.assign(**{name: SIM.U[name] * factor for name in own})}, **chosen)
    assert_same_posterior(one, other)
    assert_alike(reported(one), reported(other))


@few
@given(factor=factors, chosen=options)
def test_the_currency(factor, chosen):
    one, other = posterior_of(TABLES, **chosen), posterior_of(TABLES | {"spend": SIM.spend * factor}, **chosen)
    assert_same_posterior(one, other)
    assert_alike(reported(one), reported(other))
    np.testing.assert_allclose(other.data.currency, one.data.currency * factor)


@few
@given(factor=factors)
def test_the_currency_of_a_belief_about_returns(factor):
    one = posterior_of(TABLES, priors=Priors(roi={"tv": (0.5, 2.0), "d": 1.5}))
    other = posterior_of(TABLES | {"spend": SIM.spend * factor}, priors=Priors(roi={"tv": (0.5 / factor, 2.0 / factor), "d": 1.5 / factor}))
    assert_same_posterior(one, other)


@few
@given(factor=factors, chosen=options)
def test_the_unit_of_the_outcome_of_a_lift_test(factor, chosen):
    weeks = SIM.y.index
    lift = lambda k: (LiftTest("tv", weeks[10], weeks[14], 20_000.0 * k, 9_000.0 * k, change=-1.0),)
    one = posterior_of(TABLES, experiments=lift(1.0), **chosen)
    other = posterior_of(TABLES | {"y": SIM.y * factor}, experiments=lift(factor), **chosen)
    assert_same_posterior(one, other)


@few
@given(factor=factors, shift=st.floats(-1e3, 1e3), chosen=options)
def test_unit_and_zero_of_a_control(factor, shift, chosen):
    other = posterior_of(TABLES | {"Z": SIM.Z.assign(price=(SIM.Z.price + shift) * factor)}, **chosen)
    one = posterior_of(TABLES, **chosen)
    assert_same_posterior(one, other, rtol=1e-7)
    assert_alike(reported(one), reported(other), {"control_effect": np.array([1 / factor, 1.0])})


@few
@given(columns=st.permutations(list(SIM.U)), controls=st.permutations(list(SIM.Z)), chosen=options)
def test_the_order_of_columns(columns, controls, chosen):
    "Media go by the order of the tree, controls by their own: the density stays, and every effect keeps its name."
    one = posterior_of(TABLES, **chosen)
    other = posterior_of({"y": SIM.y, "U": SIM.U[columns], "Z": SIM.Z[controls], "spend": SIM.spend[columns[::-1]]}, **chosen)
    assert_same_posterior(one, other)
    assert (one.data.U == other.data.U).all() and (one.data.spend == other.data.spend).all() and list(other.data.controls) == controls


@pytest.mark.parametrize("chosen", CHOICES, ids=str)
def test_dates_or_integers(chosen):
    "But for the baseline, which has a season only where there are dates."
    chosen = chosen | {"baseline": "none"}
    index = {"integers": pd.RangeIndex(52), "later integers": pd.RangeIndex(500, 604, 2), "months": pd.date_range("2015-01-31", periods=52, freq="ME"),
             "periods": pd.period_range("2015-01", periods=52, freq="Q"), "seconds": SIM.y.index.as_unit("s")}
    one = posterior_of(TABLES, **chosen)
    others = [posterior_of({name: table.set_axis(labels, axis=0) for name, table in TABLES.items()}, **chosen) for labels in index.values()]
    others.append(posterior_of({name: table.to_numpy() for name, table in TABLES.items()}, **chosen))
    for other in others:
        assert one.inputs.keys() == other.inputs.keys() and all((one.inputs[name] == other.inputs[name]).all() for name in one.inputs)


def permuted(one, other):
    "For each place of the other's flat vector, the place of the same node's parameter here."
    h, found = one.data.hierarchy, []
    for name, own in places(one).items():
        level = next((level for level in h.levels if name.endswith(f"_{level}")), h.levels[0])
        of_nodes = len(own) == h.size(level) and not name.endswith("spread")
        found += [own[h.names[level].index(node)] for node in other.data.hierarchy.names[level]] if of_nodes else list(own)
    return found


@few
@given(chosen=options, order=st.randoms(use_true_random=False))
def test_the_order_of_the_tree(chosen, order):
    shuffled = lambda branch: order.sample(sorted(branch), len(branch))
    tree = {channel: {platform: shuffled(TREE[channel][platform]) for platform in shuffled(TREE[channel])} for channel in shuffled(TREE)}
    one, other = posterior_of(TABLES, **chosen), posterior_of(TABLES, build_hierarchy(tree), **chosen)
    x = points(one)
    np.testing.assert_allclose(density(other, x[:, permuted(one, other)]), density(one, x), rtol=1e-9)


@few
@given(chosen=options, by_name=st.booleans(), seed=st.integers(0, 9))
def test_a_control_that_is_believed_to_do_nothing(chosen, by_name, seed):
    "A prior sd of zero says that the effect is zero; all else stays, whichever way it is said."
    idle = pd.Series(np.random.default_rng(seed).normal(5, 2, 52), SIM.y.index, name="idle")
    one, wide = posterior_of(TABLES, **chosen), SIM.Z.assign(idle=idle)
    other = posterior_of(TABLES | {"Z": wide}, priors=Priors(control_sd={"idle": 0.0}), **chosen) if by_name else posterior_of(
        TABLES | {"Z": Controls.of(wide, sd={"idle": 0.0})}, **chosen)
    x, extra = points(one), 0.0
    if "baseline" in one.sizes:  # a sampled baseline has one direction more, of which nothing follows
        x, extra = np.insert(x, places(one)["baseline"][-1] + 1, 0.0, axis=1), -0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(density(other, moved(one, other, x)) - extra, density(one, points(one)), rtol=1e-8)


@pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")
def test_a_control_that_is_believed_to_do_nothing_has_no_effect_in_a_fit():
    Z = Controls.of(SIM.Z.assign(idle=np.arange(52) % 7.0), sd={"idle": 0})
    fit = MMM(H, saturation="none").fit(SIM.y, SIM.U, Z, SIM.spend, chains=1, warmup=60, draws=20, progress=False)
    effect = fit.posterior["control_effect"]
    assert (effect.sel(control="idle") == 0).all() and (effect.sel(control="price") != 0).all()


def halved(tables):
    "The tactical `a` as two lines that always ran side by side."
    halves = lambda frame: pd.concat([(frame["a"] / 2).rename("a1"), (frame["a"] / 2).rename("a2"), frame.drop(columns="a")], axis=1)
    tree = {"tv": {"linear": ["a1", "a2", "b"], "streaming": ["c"]}, "web": TREE["web"]}
    return build_hierarchy(tree), tables | {"U": halves(tables["U"]), "spend": halves(tables["spend"])}


@pytest.mark.parametrize("chosen", [before | {"weights": "exposure"} | chosen for before in (FORMER, {}) for chosen in CHOICES if "weights" not in chosen], ids=str)
def test_a_tactical_in_two_halves(chosen):
    "Each half has the prior of the whole; where both do what the whole did, the data say the same, and the channel brings the same."
    tree, tables = halved(TABLES)
    one, other = posterior_of(TABLES, **chosen), posterior_of(tables, tree, **chosen)
    for name, prior in one.inputs.items():
        if name.endswith("_prior") and name != "nu_prior":
            spread_out = np.concatenate([prior[:, :1], prior], axis=1) if prior.shape[1] < other.inputs[name].shape[1] else prior
            np.testing.assert_allclose(other.inputs[name], spread_out, err_msg=name)
    x, media = points(one), []
    own = {name: np.r_[place[:1], place] if other.sizes[name] > len(place) else place for name, place in places(one).items()}
    for posterior, at in ((one, x), (other, x[:, np.concatenate(list(own.values()))])):
        inputs = {name: tf.constant(value) for name, value in posterior.inputs.items()}
        state, _ = evaluate(posterior.blocks, tf.constant(at), inputs)
        posterior.blocks[2].log_likelihood(inputs, state)
        media.append(state["media"].numpy())
    np.testing.assert_allclose(media[1], media[0], rtol=1e-9)


@pytest.mark.parametrize("before", [FORMER, {"weights": "exposure"}], ids=["former", "total"])
def test_two_halves_that_have_all_in_common_are_one(before):
    "One effect for the channel, and carry-overs that cannot differ: the split says nothing, so the posterior is the same."
    tree, tables = halved(TABLES)
    one, other = (posterior_of(t, h, Priors(decay_spread=1e-9), saturation="none", pooling="channel", **before) for t, h in ((TABLES, H), (tables, tree)))
    x = points(one)
    own = {name: np.r_[place[:1], place] if other.sizes[name] > len(place) else place for name, place in places(one).items()}
    step = x[:, own["decay_tactical"][0]]  # of the second half: standard normal, and without width
    same = density(other, x[:, np.concatenate(list(own.values()))]) + 0.5 * (step ** 2 + np.log(2 * np.pi))
    np.testing.assert_allclose(same, density(one, x), rtol=1e-7)


@pytest.mark.parametrize("weights", ["exposure", "equal", "learnt"])
@pytest.mark.parametrize("pooling", ["nested", "channel", "sparse"])
@pytest.mark.parametrize("effect", ["positive", "real"])
def test_a_split_changes_nothing_above_it(effect, pooling, weights):
    "Whatever the parts of a line do, its platform and its channel bring what they brought, because parts divide what their parent has."
    rng, share = np.random.default_rng(5), np.random.default_rng(6).uniform(size=52)
    parts = lambda frame: pd.concat([(frame["a"] * share).rename("a1"), (frame["a"] * (1 - share)).rename("a2"), frame.drop(columns="a")], axis=1)
    tree = build_hierarchy({"tv": {"linear": ["a1", "a2", "b"], "streaming": ["c"]}, "web": TREE["web"]})
    options = {"effect": effect, "pooling": pooling, "weights": weights}
    one, other = posterior_of(TABLES, **options), posterior_of(TABLES | {"U": parts(SIM.U), "spend": parts(SIM.spend)}, tree, **options)
    upper, totals = {}, []
    for posterior in (one, other):
        own = {name: upper.setdefault(name, rng.normal(0, 0.7, len(place))) if len(place) == len(places(one)[name]) else rng.normal(0, 0.7, len(place))
               for name, place in places(posterior).items()}
        inputs, h = {name: tf.constant(value) for name, value in posterior.inputs.items()}, posterior.data.hierarchy
        state, _ = evaluate(posterior.blocks, tf.constant(np.concatenate(list(own.values()))[None]), inputs)
        totals.append({level: state["total"].numpy()[0] @ h.matrix("tactical", level) for level in ("platform", "channel")})
    for level in ("channel",) if pooling == "channel" else ("platform", "channel"):  # one effect a channel knows no platforms
        np.testing.assert_allclose(totals[1][level], totals[0][level], rtol=1e-9, err_msg=level)


class Streams:
    "Normal and uniform numbers from streams of their own, so that it does not matter in how many portions they are taken."

    def __init__(self, seed):
        self.normal, self.random = np.random.default_rng([seed, 1]).normal, np.random.default_rng([seed, 2]).random


@pytest.mark.parametrize("portions", [(20, 30), (1, 48, 1), (10,) * 5], ids=str)
def test_transitions_in_portions(portions):
    "Fifty transitions at once are the same, bit for bit, as one portion after the other."
    posterior = posterior_of(TABLES, saturation="none")
    program, adaptation = Program(posterior), (0.0, np.log(0.1), 0.0, np.log(1.0), np.log(0.1))
    inputs, x = program.tensors(posterior.inputs), np.zeros(posterior.dimension)
    whole = program.transitions(inputs, x, 50, 1.0, adaptation, True, 0.8, Streams(3))
    draws, stats, rng = [], [], Streams(3)
    for count in portions:
        adaptation, found, told = program.transitions(inputs, x, count, 1.0, adaptation, True, 0.8, rng)
        draws, stats, x = [*draws, found], [*stats, told], found[-1]
    assert len(np.unique(whole[1][:, 0])) > 20
    assert (np.concatenate(draws) == whole[1]).all() and (np.concatenate(stats) == whole[2]).all() and (adaptation == whole[0]).all()
