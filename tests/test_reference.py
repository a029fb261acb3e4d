"""A second opinion: the same model, written in NumPyro from its formulas and sampled at length, says the same of the same data.

`reference/numpyro_model.py` is that model, `reference/<name>.csv` what it found, with Monte Carlo standard errors, and
`reference/<name>.json` how. The conditions on a reference are those of posteriordb, R-hat below 1.01, many effective draws,
expectations recorded, but for one: posteriordb wants no divergence, and of the former default's 20,000 transitions three diverged (at
an acceptance of 0.998), of the rough model's 12,000 ten (at 0.99). Nothing here samples but Precision.
"""

import json
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from precision.hierarchy import build_hierarchy
from precision.model import MMM, former_default

FOLDER = Path(__file__).parent / "reference"
TREE = {"tv": {"linear": ["tv_brand", "tv_offers"]},
        "web": {"search": ["search_brand", "search_generic"], "social": ["social_reach", "social_retarget"]}}
MODELS = {"default": MMM, "former": former_default, "rough": lambda h: former_default(h, likelihood="student_t", residual="ar1")}
CONTROLS = {"default": ["price"], "former": ["price", "season"], "rough": ["price", "season"]}  # the default has a season of its own
WHEN = {"first": 0, "middle": 40, "last": -1}  # periods at which the moving baseline is compared
MADE = [name for name in MODELS if (FOLDER / f"{name}.csv").exists()]


def fitted(name):
    "Precision's posterior of the reference's data."
    made = json.loads((FOLDER / f"{name}.json").read_text())
    table, h = pd.read_csv(FOLDER / made["data"], index_col="date", parse_dates=True), build_hierarchy(TREE)
    leaves = h.names["tactical"]
    spend = table[[f"{leaf}_spend" for leaf in leaves]].set_axis(leaves, axis=1)
    return MODELS[name](h).fit(table["sales"], table[leaves], table[CONTROLS[name]], spend, warmup=500, draws=1000, seed=11, progress=False)


def draws_of(fit):
    "{quantity, by the reference's names: draws [chain, draw]}."
    found = {}
    for name, values in fit.posterior.drop_vars("baseline_effect", errors="ignore").data_vars.items():
        nodes = values.coords[values.dims[2]].values if values.ndim == 3 else [None]
        for k, node in enumerate(nodes):
            found[name if node is None else f"{name}[{node}]"] = values.values[..., k] if values.ndim == 3 else values.values
    for level in ("tactical", "channel"):
        for node, draws in fit.components.media(level):
            found[f"contribution_{level}[{node}]"] = draws.sum(axis=1).reshape(fit.sample_shape)
    for part, _ in fit.data.moving:
        found |= {f"{part}[{when}]": fit.components.part(part)[:, t].reshape(fit.sample_shape) for when, t in WHEN.items()}
    return found


def errors_of(draws):
    "Monte Carlo standard errors of means, by quantity."
    names = {f"q{k}": name for k, name in enumerate(draws)}
    found = az.mcse(xr.Dataset({short: (("chain", "draw"), draws[name]) for short, name in names.items()}), method="mean")
    return pd.Series({name: float(found[short]) for short, name in names.items()})


@pytest.fixture(scope="module", params=MADE)
def both(request):
    "(the reference, Precision's draws)"
    return pd.read_csv(FOLDER / f"{request.param}.csv", index_col="quantity"), draws_of(fitted(request.param))


@pytest.mark.parametrize("name", MADE)
def test_the_reference_deserves_its_name(name):
    table, made = pd.read_csv(FOLDER / f"{name}.csv", index_col="quantity"), json.loads((FOLDER / f"{name}.json").read_text())
    assert table.rhat.max() < 1.005 and table.ess_bulk.min() > 4000 and table.ess_tail.min() > 4000
    assert made["divergences"] < 0.001 * made["chains"] * made["draws"]
    assert (table.mcse_mean < 0.02 * table["sd"]).all()


def test_every_quantity_is_in_both(both):
    table, draws = both
    assert set(table.index) == set(draws)


def test_means_agree(both):
    "In combined standard errors; the limit is that which all of them together exceed once in a thousand times."
    table, draws = both
    z = (pd.Series({name: value.mean() for name, value in draws.items()}) - table["mean"]) / np.hypot(errors_of(draws), table.mcse_mean)
    assert z.abs().max() < stats.norm.isf(0.0005 / len(z)), z[z.abs() > 3]
    assert (z ** 2).mean() < 2.5


def test_spreads_agree(both):
    "Standard deviations within 12%, or within 4 of the reference's own standard errors where tails are long."
    table, draws = both
    sd = pd.Series({name: value.std() for name, value in draws.items()}).loc[table.index]
    assert ((sd / table["sd"] - 1).abs() < np.maximum(0.12, 4 * table.mcse_sd / table["sd"])).all(), (sd / table["sd"]).sort_values()


@pytest.mark.parametrize("percent, near", [(5, 0.015), (25, 0.03), (50, 0.035), (75, 0.03), (95, 0.015)])
def test_quantiles_agree(both, percent, near):
    "The share of Precision's draws below each of the reference's quantiles."
    table, draws = both
    below = pd.Series({name: (value < table.loc[name, f"q{percent}"]).mean() for name, value in draws.items()})
    assert ((below - percent / 100).abs() < near).all(), below.sort_values()
