"""Meridian fits its model to a world, every line a channel, and plans with its optimiser: DATA.npz RESULT.npz

The model is that of the page on weak media. The plan is for the same weeks of a year ago, whose money and shape today's plan has.
Written down: factors of today's plan, what the library's own response curves say of plans, seconds.
"""
import resource
import sys
import time
import warnings

warnings.simplefilter("ignore")
import arviz as az
import numpy as np
import pandas as pd
from meridian.analysis import analyzer, optimizer
from meridian.data import data_frame_input_data_builder
from meridian.model import model, spec

started = time.perf_counter()
data = np.load(sys.argv[1])
lines, controls, step = list(data["lines"]), list(data["controls"]), float(data["step"])
bought = [f"{line}_bought" for line in lines]
frame = pd.DataFrame(np.column_stack([data["spend"], data["U"], data["Z"]]), columns=lines + bought + controls)
frame["time"], frame["kpi"] = data["dates"], data["y"]
builder = data_frame_input_data_builder.DataFrameInputDataBuilder(kpi_type="non_revenue", default_kpi_column="kpi", default_time_column="time")
builder = builder.with_kpi(frame).with_media(frame, media_cols=bought, media_spend_cols=lines, media_channels=lines)
builder = builder.with_controls(frame, control_cols=controls) if controls else builder
knots_at = [*range(0, len(frame) - 4, 8), len(frame) - 1]
mmm = model.Meridian(input_data=builder.build(), model_spec=spec.ModelSpec(knots=knots_at, max_lag=8))
mmm.sample_posterior(n_chains=2, n_adapt=400, n_burnin=100, n_keep=int(data["draws"]), seed=1)
names = [name for name in ("alpha_m", "ec_m", "roi_m", "gamma_c", "knot_values", "sigma") if name in mmm.inference_data.posterior]
rhat = np.nanmax([float(v.max()) for v in az.rhat(mmm.inference_data, var_names=names).values()])
fitted, cpu = time.perf_counter(), time.process_time()

first, weeks = len(frame) - 52, len(data["today"])
times, money = list(data["dates"][first:first + weeks]), data["today"].sum(axis=0)
best = optimizer.BudgetOptimizer(mmm).optimize(start_date=times[0], end_date=times[-1], spend_constraint_lower=step, spend_constraint_upper=step,
                                               use_kpi=True)
planned, cpu, peak = time.perf_counter(), time.process_time() - cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
chosen = best.optimized_data.spend.sel(channel=lines).values
factors = np.where(money > 0, chosen / np.maximum(money, 1e-300), 1.0)
knots = np.round(np.arange(1 - step, 1 + step + 1e-9, 0.125), 6)
curves = analyzer.Analyzer(mmm).response_curves(spend_multipliers=list(knots), selected_times=times, use_kpi=True)
table = curves.incremental_outcome.sel(metric="mean", channel=lines).transpose("spend_multiplier", "channel").values
table = table - table[np.argmin(np.abs(knots - 1))]
promised = sum(np.interp(factor, knots, column) for factor, column in zip(factors, table.T))
np.savez(sys.argv[2], factors=factors, promised=promised, knots=knots, table=table, max_rhat=rhat, fit_s=fitted - started, build_s=0.0,
         plan_s=planned - fitted, peak_MB=peak, cpu_s=cpu, success=True, evaluations=0)
