"""Meridian's national model of a market, as its guides introduce it for an outcome that is not revenue: DATA.npz RESULT.npz

The prior is then on what all media bring: 40% of the outcome, give or take 20. The baseline has a knot every eight weeks.
"""
import sys
import time

import arviz as az
import numpy as np
import pandas as pd
from meridian.analysis import analyzer
from meridian.data import data_frame_input_data_builder
from meridian.model import model, spec

started = time.perf_counter()
data = np.load(sys.argv[1])
channels, controls, every = list(data["channels"]), list(data["controls"]), max(1, round(56 / float(data["step"])))
frame = pd.DataFrame(np.column_stack([data["spend"], data["Z"]]), columns=channels + controls)
frame["time"], frame["kpi"] = data["dates"], data["y"]
builder = data_frame_input_data_builder.DataFrameInputDataBuilder(kpi_type="non_revenue", default_kpi_column="kpi", default_time_column="time")
builder = builder.with_kpi(frame).with_media(frame, media_cols=channels, media_spend_cols=channels, media_channels=channels)
builder = builder.with_controls(frame, control_cols=controls) if controls else builder
knots = [*range(0, len(frame) - every // 2, every), len(frame) - 1]
mmm = model.Meridian(input_data=builder.build(), model_spec=spec.ModelSpec(knots=knots, max_lag=max(8, every)))
mmm.sample_posterior(n_chains=4, n_adapt=500, n_burnin=250, n_keep=500, seed=1)
totals = np.asarray(analyzer.Analyzer(mmm).incremental_outcome(use_kpi=True))
names = [name for name in ("alpha_m", "ec_m", "roi_m", "gamma_c", "knot_values", "sigma") if name in mmm.inference_data.posterior]
rhat = np.nanmax([float(v.max()) for v in az.rhat(mmm.inference_data, var_names=names).values()])
np.savez(sys.argv[2], totals=totals.reshape(-1, len(channels)), max_rhat=rhat, seconds=time.perf_counter() - started)
