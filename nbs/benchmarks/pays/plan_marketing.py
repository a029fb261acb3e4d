"""PyMC-Marketing fits its model to a world, every line a channel, and plans with its optimiser: DATA.npz RESULT.npz

The model is that of the page on weak media: as the library's example sets it up, with spend as exposure. The plan keeps each line's
shape over the weeks, as ours does. Written down: factors of today's plan, what the library's own objective says of plans, seconds.
"""
import resource
import sys
import time
import warnings

warnings.simplefilter("ignore")
import arviz as az
import numpy as np
import pandas as pd
import xarray as xr
from pymc_extras.prior import Prior
from pymc_marketing.mmm import MMM, GeometricAdstock, LogisticSaturation

started = time.perf_counter()
data = np.load(sys.argv[1])
lines, spend, step, dates = list(data["lines"]), data["spend"], float(data["step"]), pd.to_datetime(data["dates"])
trend = [] if "trend" in data["controls"] else ["t"]
controls = [*data["controls"], *trend]
X = pd.DataFrame(np.column_stack([spend, data["Z"] - data["Z"].mean(axis=0), *[np.arange(len(spend))] * len(trend)]), columns=lines + controls)
X.insert(0, "date", dates)
priors = {"intercept": Prior("Normal", mu=0.5, sigma=0.2),
          "saturation_beta": Prior("HalfNormal", sigma=len(lines) * spend.sum(axis=0) / spend.sum(), dims="channel"),
          "gamma_control": Prior("Normal", mu=0, sigma=0.05, dims="control"),
          "gamma_fourier": Prior("Laplace", mu=0, b=0.2, dims="fourier_mode"),
          "likelihood": Prior("Normal", sigma=Prior("HalfNormal", sigma=6), dims="date")}
mmm = MMM(date_column="date", target_column="y", channel_columns=lines, control_columns=controls, model_config=priors,
          adstock=GeometricAdstock(l_max=8), saturation=LogisticSaturation(), yearly_seasonality=None if len(data["controls"]) else 2)
mmm.fit(X, pd.Series(data["y"], name="y"), nuts_sampler="nutpie", draws=int(data["draws"]), tune=500, chains=2, cores=2, random_seed=1, progressbar=False)
rhat = max(float(v.max()) for v in az.rhat(mmm.idata["posterior"].to_dataset()[[v.name for v in mmm.model.free_RVs]]).values())
fitted, cpu = time.perf_counter(), time.process_time()

today = data["today"]  # [period, line]
weeks, money = len(today), today.sum(axis=0)
ahead = pd.date_range(dates[-1] + pd.Timedelta(days=7), periods=weeks, freq="7D")
shape = np.where(money > 0, today / np.maximum(money, 1e-300), 1 / weeks)
label = lambda v: xr.DataArray(v, dims=["channel"], coords={"channel": lines})
optimizer = mmm.budget_optimizer(ahead[0], ahead[-1], budget_distribution_over_period=xr.DataArray(
    shape, dims=["date", "channel"], coords={"date": ahead, "channel": lines}))
a_week = money / weeks  # the library counts money of a period
bounds = {line: ((1 - step) * m, (1 + step) * m) for line, m in zip(lines, a_week)}
built = time.perf_counter()
best = optimizer.allocate_budget(total_budget=a_week.sum(), budget_bounds=bounds)
planned, cpu, peak = time.perf_counter(), time.process_time() - cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
utility = lambda factors: optimizer.evaluate_plan(label(factors * a_week)).utility
again = time.perf_counter()
one = utility(np.ones(len(lines)))
factors = np.where(money > 0, best.budgets.sel(channel=lines).values / np.maximum(a_week, 1e-300), 1.0)
knots = np.round(np.arange(1 - step, 1 + step + 1e-9, 0.125), 6)
table = np.array([[utility(np.where(np.arange(len(lines)) == i, knot, 1.0)) - one for i in range(len(lines))] for knot in knots])
np.savez(sys.argv[2], factors=factors, promised=utility(factors) - one, knots=knots, table=table, max_rhat=rhat, fit_s=fitted - started,
         build_s=built - fitted, plan_s=planned - built, peak_MB=peak, cpu_s=cpu, success=bool(best.scipy_result.success), evaluations=best.scipy_result.nfev)
