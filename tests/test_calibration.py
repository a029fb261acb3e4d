"""The default model is calibrated on data sets of its own prior: the short version of the benchmark."""

import pytest

from precision.calibration import calibrate
from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy
from precision.model import MMM
from precision.simulate import simulate

TREE = {"tv": {"linear": ["spots", "sponsoring"]}, "web": {"search": ["brand"], "social": ["feed"]}}


def test_ranks_of_a_hundred_data_sets_are_uniform():
    hierarchy = build_hierarchy(TREE)
    world = simulate(hierarchy, periods=52, seed=1, controls=["price"])
    ranks = calibrate(MMM(hierarchy), world.y, world.U, world.Z, world.spend, sets=100, seed=3, progress=False, chains=2, warmup=300, draws=250)
    found = ranks.uniformity()
    assert len(ranks.table) == 100 and {"total[tv]", "log_likelihood", "effect_platform[social]"} <= set(found.index)
    assert found.p_value.min() > 0.001 / len(found), f"ranks are not uniform\n{found.sort_values('p_value').head()}"
    assert found.outside_band.mean() < 0.3 and abs(found.inside_90.mean() - 0.9) < 0.03 and abs(found.inside_50.mean() - 0.5) < 0.05


def test_another_hierarchy_cannot_judge():
    one, other = build_hierarchy(TREE), build_hierarchy({"tv": ["a"]}, ["tactical", "channel"])
    world = simulate(one, periods=52, seed=1)
    with pytest.raises(PrecisionError, match="fit_with must be an MMM of the same hierarchy"):
        calibrate(MMM(one), world.y, world.U, fit_with=MMM(other), sets=2)
