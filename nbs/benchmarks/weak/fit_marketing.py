"""PyMC-Marketing's model of a market, as its example notebook sets it up: DATA.npz RESULT.npz

A linear trend is a control, the effects' prior follows the share of spend, carry-over lasts for eight weeks. Controls are
centred, since the prior of the intercept is that of a level; waves of the year are added where no control has them.
"""
import sys
import time

import arviz as az
import numpy as np
import nutpie
import pandas as pd
from pymc_extras.prior import Prior
from pymc_marketing.mmm import MMM, GeometricAdstock, LogisticSaturation

started = time.perf_counter()
data = np.load(sys.argv[1])
channels, controls, spend = list(data["channels"]), [*data["controls"], "t"], data["spend"]
X = pd.DataFrame(np.column_stack([spend, data["Z"] - data["Z"].mean(axis=0), np.arange(len(spend))]), columns=channels + controls)
X.insert(0, "date", pd.to_datetime(data["dates"]))
priors = {"intercept": Prior("Normal", mu=0.5, sigma=0.2),
          "saturation_beta": Prior("HalfNormal", sigma=len(channels) * spend.sum(axis=0) / spend.sum(), dims="channel"),
          "gamma_control": Prior("Normal", mu=0, sigma=0.05, dims="control"),
          "gamma_fourier": Prior("Laplace", mu=0, b=0.2, dims="fourier_mode"),
          "likelihood": Prior("Normal", sigma=Prior("HalfNormal", sigma=6), dims="date")}
mmm = MMM(date_column="date", target_column="y", channel_columns=channels, control_columns=controls, model_config=priors,
          adstock=GeometricAdstock(l_max=max(8, round(56 / data["step"]))), saturation=LogisticSaturation(),
          yearly_seasonality=None if len(controls) > 1 else 2)
mmm.build_model(X, pd.Series(data["y"], name="y"))
mmm.add_original_scale_contribution_variable(["channel_contribution"])
trace = nutpie.sample(nutpie.compile_pymc_model(mmm.model), draws=500, tune=500, chains=4, cores=2, seed=1, progress_bar=False)
totals = trace.posterior["channel_contribution_original_scale"].sum("date").transpose("chain", "draw", "channel").values
names = [v.name for v in mmm.model.free_RVs]
rhat = max(float(v.max()) for v in az.rhat(trace, var_names=names).values())
np.savez(sys.argv[2], totals=totals.reshape(-1, len(channels)), max_rhat=rhat, seconds=time.perf_counter() - started)
