"""What is said of totals holds for totals: of all media, of any node, under every pooling, whatever the flights and the curves."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from precision.errors import PrecisionError

from precision.hierarchy import build_hierarchy
from precision.model import MMM, former_default
from precision.posterior import evaluate
from precision.priors import Priors
from precision.saving import data_groups
from precision.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")  # short runs, on purpose
WEEKS = pd.date_range("2022-01-03", periods=156, freq="7D")


def plan(channels, lines, flights="always"):
    "A tree with so many channels, each with lines in two platforms, and what was paid for each: {name: tree}, frame [week, line]."
    rng, tree = np.random.default_rng([channels, lines]), {}
    for c in range(channels):
        names = [f"c{c}l{k}" for k in range(lines)]
        tree[f"c{c}"] = {f"c{c}p": names[: (lines + 1) // 2]} | ({f"c{c}q": names[(lines + 1) // 2:]} if lines > 1 else {})
    size = channels * lines
    paid = rng.gamma(2.0, rng.uniform(0.2, 5.0, size), (156, size))
    if flights == "rare":  # on air in eight weeks of three years
        for i in range(size):
            paid[np.setdiff1d(np.arange(156), rng.choice(156, 8, replace=False)), i] = 0
    h = build_hierarchy(tree)
    return h, pd.DataFrame(paid, WEEKS, h.names["tactical"])


def outcome(ratio, season=False):
    "Sales whose mean is so many times their sd; with a season that takes most of it."
    rng, wave = np.random.default_rng(7), np.sin(2 * np.pi * np.arange(156) / 52.18)
    moves = rng.normal(size=156) + (4 * wave if season else 0)
    return pd.Series(1000 * (ratio + (moves - moves.mean()) / moves.std()), WEEKS), pd.DataFrame({"season": wave + 0.01 * rng.normal(size=156)}, WEEKS)


def drawn_totals(mmm, y, U, spend=None, draws=20_000, seed=0):
    "What every line brings in all in draws from the prior, [draws, line], from the log density's own values: no series is made."
    from precision.data import prepare
    data = mmm.prepared(prepare(mmm.hierarchy, y, U, None, spend))
    posterior, rng = mmm.posterior(data), np.random.default_rng(seed)
    inputs = {name: tf.constant(value) for name, value in posterior.inputs.items()}
    blocks = posterior.blocks[:2]
    free = {name: value for block in posterior.blocks for name, value in block.draw(rng, draws, posterior.inputs).items()}
    state, _ = evaluate(blocks, tf.constant(np.concatenate([free[name] for block in blocks for name in block.sizes()], axis=1)), inputs)
    return state["total"].numpy() * data.y_sd * len(data.y)


# All media

@pytest.mark.parametrize("channels, lines, ratio, season, brought", [
    (1, 1, 5, False, False), (20, 1, 5, False, False), (1, 100, 5, False, False), (20, 5, 2, False, False), (6, 4, 20, False, False),
    (4, 2, 5, True, False), (4, 2, 5, True, True), (4, 2, 20, True, True)])
def test_before_the_data_media_bring_what_anybody_would_believe(channels, lines, ratio, season, brought):
    h, paid = plan(channels, lines)
    y, Z = outcome(ratio, season)
    draws = 4000 if channels * lines < 50 else 1500
    share = MMM(h).sample_prior(y, paid, Z if brought else None, paid, draws=draws).media_share()
    middle, high = np.quantile(share, [0.5, 0.95])
    assert 0.15 < middle < 0.3 and high < 1
    expected = np.sqrt(0.06 * 0.5)  # the same for all of them, within a fifth
    assert expected / 1.2 < middle < expected * 1.2


@pytest.mark.parametrize("pooling", ["nested", "channel", "none", "sparse"])
@pytest.mark.parametrize("weights", ["learnt", "exposure", "equal"])
def test_the_share_of_all_media_is_the_stated_one_under_every_pooling(pooling, weights):
    h, paid = plan(3, 4)
    y, _ = outcome(5)
    share = drawn_totals(MMM(h, Priors(media_share=(0.1, 0.3)), pooling=pooling, weights=weights), y, paid, paid).sum(axis=1) / y.sum()
    np.testing.assert_allclose(np.quantile(share, [0.05, 0.95]), [0.1, 0.3], rtol=0.05)


def test_the_share_of_effects_of_either_sign():
    h, paid = plan(3, 4)
    y, _ = outcome(5)
    share = drawn_totals(MMM(h, effect="real"), y, paid, paid).sum(axis=1) / y.sum()
    np.testing.assert_allclose(np.quantile(share, [0.05, 0.5, 0.95]), [-0.3, 0.15, 0.6], atol=0.02)


def test_the_former_default_claimed_more_the_more_channels_there_were():
    "The reason for all this; and the former prior is there for the asking."
    y, _ = outcome(5)
    median = [np.median(former_default(h).sample_prior(y, paid, spend=paid, draws=500).media_share()) for h, paid in (plan(1, 1), plan(10, 1))]
    assert median[1] > 4 * median[0]


# A node

@pytest.mark.parametrize("node, level", [("c1", "channel"), ("c1p", "platform"), ("c1l0", "tactical")])
@pytest.mark.parametrize("pooling", ["nested", "channel", "none", "sparse"])
@pytest.mark.parametrize("lines", [1, 3, 20])
@pytest.mark.parametrize("field", ["roi", "share"])
def test_a_range_is_that_of_the_nodes_total(node, level, pooling, lines, field):
    weights = {"nested": "learnt", "channel": "exposure", "none": "equal", "sparse": "learnt"}[pooling]
    h, paid = plan(3, lines, "rare" if lines == 3 else "always")
    y, _ = outcome(5)
    ends = (0.5, 2.0) if field == "roi" else (0.02, 0.1)
    total = drawn_totals(MMM(h, Priors(**{field: {node: ends}}), pooling=pooling, weights=weights), y, paid, paid)
    below = h.matrix("tactical", level)[:, h.names[level].index(node)] > 0
    told = total[:, below].sum(axis=1) / (paid.to_numpy()[:, below].sum() if field == "roi" else y.sum())
    np.testing.assert_allclose(np.quantile(told, [0.05, 0.95]), ends, rtol=0.1)


@pytest.mark.parametrize("saturation", ["michaelis_menten", "none", "hill", "logistic"])
@pytest.mark.parametrize("flights", ["always", "rare"])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_range_holds_for_the_series_whatever_the_curve_and_the_flights(saturation, flights, normalize):
    "Here what is counted is the contributions themselves, period by period, from the exact carry-over."
    h, paid = plan(2, 2, flights)
    y, _ = outcome(5)
    mmm = MMM(h, Priors(roi={"c0": (0.5, 2.0), "c1p": (0.2, 0.4)}), saturation=saturation, normalize_adstock=normalize)
    prior = mmm.sample_prior(y, paid, spend=paid, draws=4000)
    for node, level, ends in (("c0", "channel", (0.5, 2.0)), ("c1p", "platform", (0.2, 0.4))):
        below = h.descendants(node)
        roi = prior.components.node(level, node).sum(axis=1) / paid[below].to_numpy().sum()
        np.testing.assert_allclose(np.quantile(roi, [0.05, 0.95]), ends, rtol=0.1)


def test_a_number_alone_is_a_median():
    h, paid = plan(2, 3)
    y, _ = outcome(5)
    total = drawn_totals(MMM(h, Priors(roi={"c0": 1.5}, share={"c1": 0.05})), y, paid, paid)
    of = lambda node: total[:, h.matrix("tactical", "channel")[:, h.names["channel"].index(node)] > 0].sum(axis=1)
    assert np.median(of("c0")) / paid.filter(like="c0").to_numpy().sum() == pytest.approx(1.5, rel=0.05)
    assert np.median(of("c1")) / y.sum() == pytest.approx(0.05, rel=0.05)
    low, high = np.quantile(of("c1") / y.sum(), [0.05, 0.95])
    np.testing.assert_allclose([low, high], 0.05 * np.exp([-0.7 * 1.645, 0.7 * 1.645]), rtol=0.05)


def test_the_rest_divides_what_is_left_for_it():
    "A stated channel takes no part in the composition: the others bring what was expected of them."
    h, paid = plan(4, 2)
    y, _ = outcome(5)
    same = paid * 0 + 1.0
    plain, told = (drawn_totals(MMM(h, priors), y, same, same) for priors in (Priors(), Priors(share={"c0": 0.3})))
    others = ~np.isin(h.names["tactical"], h.descendants("c0"))
    np.testing.assert_allclose(np.median(told[:, others].sum(axis=1)), 0.75 * np.median(plain.sum(axis=1)), rtol=0.03)


# What cannot be said

H, PAID = plan(2, 2)
Y, _ = outcome(5)


@pytest.mark.parametrize("priors, message", [
    ({"roi": {"c0": 1.0, "c0p": 2.0}}, "'c0' and of 'c0p' below it"), ({"roi": {"c0": 1.0}, "share": {"c0l0": 0.1}}, "'c0' and of 'c0l0' below it"),
    ({"share": {"c1p": 0.1, "c1l0": (0.02, 0.05)}}, "'c1p' and of 'c1l0' below it"), ({"roi": {"c0": 1.0}, "share": {"c0": 0.1}}, "both speak of 'c0'")])
@pytest.mark.parametrize("pooling", ["nested", "none"])
def test_a_node_and_one_below_it_is_one_error(priors, message, pooling):
    with pytest.raises(PrecisionError, match=message):
        MMM(H, Priors(**priors), pooling=pooling)


@pytest.mark.parametrize("pooling", ["nested", "channel", "none", "sparse"])
@pytest.mark.parametrize("nodes", [["c0", "c1"], ["c0", "c1p", "c1q"], list(PAID)], ids=str)
def test_a_share_of_all_media_where_every_channel_has_its_own_is_an_error(pooling, nodes):
    mmm = MMM(H, Priors(media_share=0.2, roi=dict.fromkeys(nodes, (0.5, 2))), pooling=pooling)
    with pytest.raises(PrecisionError, match="media_share. says nothing here: every channel has a statement of its own"):
        mmm.sample_prior(Y, PAID, spend=PAID, draws=10)


def test_an_roi_without_spend_is_an_error():
    for node in ("c1", "c1p", "c1l0"):
        with pytest.raises(PrecisionError, match=f"speaks of '{node}', which has no spend"):
            MMM(H, Priors(roi={node: 1.0})).sample_prior(Y, PAID, spend=PAID[["c0l0", "c0l1"]], draws=10)
    with pytest.raises(PrecisionError, match="Priors.share. speaks of 'c1l0', which has no exposure"):
        MMM(H, Priors(share={"c1l0": 0.1})).sample_prior(Y, PAID.assign(c1l0=0.0), draws=10)
    with pytest.raises(PrecisionError, match="effect='positive' needs a positive one"):
        MMM(H, Priors(roi={"c0": -1.0})).sample_prior(Y, PAID, spend=PAID, draws=10)
    with pytest.raises(PrecisionError, match="a share of the outcome below 1 was expected"):
        MMM(H, Priors(share={"c0": 5})).sample_prior(Y, PAID, draws=10)


@pytest.mark.parametrize("measure, wrong", [("total", {"effect_centre": 0.1}), ("total", {"effect_sd": 0.5}), ("efficiency", {"roi": {"c0": 1.0}}),
                                            ("efficiency", {"share": {"c0": 0.1}}), ("efficiency", {"media_share": 0.2})])
def test_each_measure_hears_its_own_priors(measure, wrong):
    with pytest.raises(PrecisionError, match=f"Priors.{next(iter(wrong))}. says nothing to this model"):
        MMM(H, Priors(**wrong), measure=measure)


# Two signs

@pytest.mark.parametrize("effect", ["positive", "real"])
def test_an_outcome_of_two_signs(effect):
    rng = np.random.default_rng(3)
    y = pd.Series(rng.normal(size=156) + 0.2 * PAID.sum(axis=1).to_numpy(), WEEKS)
    y -= y.mean() - 1e-3
    prior = MMM(H, effect=effect).sample_prior(y, PAID, draws=200)
    assert all(np.isfinite(values).all() for values in prior.components.values.values()) and np.isfinite(prior.components.fitted()).all()
    size = prior.components.values["media_share"]
    if effect == "positive":
        assert 0.1 < np.median(size) < 0.3
    fit = MMM(H, effect=effect).fit(y, PAID, chains=1, warmup=60, draws=20, progress=False)
    assert any(f"the outcome has two signs, so shares of media are shares of its mean size, {np.abs(y).mean():,.4g}" in note for note in fit.notes)
    assert np.isfinite(fit.fitted()["mean"]).all() and np.isfinite(data_groups(fit.data)["observed_data"].y).all()
    with pytest.raises(PrecisionError, match="the outcome's mean is .*and there is no share of that"):
        MMM(H, Priors(share={"c0": 0.1})).sample_prior(y - 1, PAID, draws=10)


# Splits

@pytest.mark.parametrize("line, split, shares", [("d", {"search": ["d1", "d2", "e"]}, (0.4, 0.6)), ("a", {"linear": ["d1", "d2", "b"]}, (0.35, 0.35))])
def test_splitting_a_line_at_random_moves_no_channel(line, split, shares):
    tree = {"tv": {"linear": ["a", "b"], "streaming": ["c"]}, "web": {"search": ["d", "e"], "social": ["f"]}}
    sim, first = simulate(build_hierarchy(tree), periods=156, seed=5), np.random.default_rng(0).uniform(*shares, 156)
    finer = {channel: {platform: split.get(platform, lines) for platform, lines in platforms.items()} for channel, platforms in tree.items()}

    def parted(table):
        return table.drop(columns=line).assign(d1=table[line] * first, d2=table[line] * (1 - first))

    long = dict(chains=4, warmup=500, draws=2000, seed=1, progress=False)
    whole = MMM(sim.hierarchy).fit(sim.y, sim.U, sim.Z, sim.spend, **long)
    parts = MMM(build_hierarchy(finer)).fit(sim.y, parted(sim.U), sim.Z, parted(sim.spend), **long)
    before, after = (np.stack([draws.sum(axis=1) for _, draws in fit.components.media("channel")]) for fit in (whole, parts))
    assert (np.abs(after.mean(axis=1) - before.mean(axis=1)) < 0.1 * before.std(axis=1)).all()
