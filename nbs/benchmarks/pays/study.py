"""Fits the default model to every world, plans half a year with it, and judges the plans by the truth: adds lines to results.csv.

    python study.py                  # all worlds: about twenty minutes on two cores
    python study.py weak             # one group; what is there already is not done again

A line is a world, a way of planning and a step: how far every line may go from today's plan. Money of all lines together stays.
"""
import csv
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from worlds import GROUPS, KNOTS, MAIN, STEPS, best_factors, make_world, proportional, true_table, values, worlds

from precision import MMM
from precision.draws import diagnostics
from precision.limits import Limits
from precision.model import Fit

RESULTS = Path(__file__).parent / "results.csv"
KEEP = os.environ.get("KEEP_FITS")  # a folder for the fits, if they are wanted again


def fit_of(world, experiments=()):
    file = Path(KEEP, f"{world.group}-{world.name}-{world.seed}.nc".replace(" ", "_")) if KEEP else None
    if file and file.exists() and not experiments:
        return Fit.load(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # R-hat is written down
        fit = MMM(world.hierarchy).fit(world.y, world.U, world.Z, world.spend, U_history=world.U_history, experiments=experiments, chains=4, warmup=400, draws=250,
                                       seed=world.seed, progress=False, threads=2)
    if file and not experiments:
        fit.save(file)
    return fit


def summary(uplift) -> dict:
    "What a model says of a plan: mean of its uplift, its 90% interval, and the probability that it is one."
    lower, upper = np.quantile(uplift, [0.05, 0.95])
    return {"promised": uplift.mean(), "lower": lower, "upper": upper, "better": (uplift > 0).mean()}


class Judge:
    "What plans truly bring over today's in one world, beside the best plan on the true curves."

    def __init__(self, world):
        self.world, self.table, self.money = world, true_table(world), world.today.sum(axis=0)
        self.today = values(world, np.ones(len(self.money))).sum()
        self.oracle = {step: best_factors(self.table, KNOTS, self.money, step) for step in STEPS}

    def gain(self, factors) -> float:
        return values(self.world, factors).sum() - self.today

    def row(self, method, step, factors, **more) -> dict:
        w, (best, bound) = self.world, self.oracle[step]
        assert (np.abs(factors - 1)[self.money > 0] < step + 1e-3).all() and factors @ self.money < self.money.sum() * (1 + 1e-3), (method, step)
        row = {"group": w.group, "kind": w.name, "seed": w.seed, "method": method, "step": step, "lines": len(self.money), "share": w.share,
               "today": self.today, "oracle": self.gain(best), "bound": bound - self.today, "realised": self.gain(factors),
               "moved": np.abs(factors - 1) @ self.money / self.money.sum() / 2}
        return row | dict.fromkeys(("promised", "lower", "upper", "better", "gap", "fit_s", "plan_s", "rhat")) | more


def plans_of(world, fit, judge):
    "Rows of every way to plan with our own fit."
    plan, money = fit.plan(26), judge.money
    assert np.allclose(plan.spend.to_numpy(), world.today), "today's plan is the same for the tool and for the truth"
    factors = lambda best: np.where(money > 0, best.plan.spend.to_numpy().sum(axis=0) / np.maximum(money, 1e-300), 1.0)
    told = fit.evaluate(plan)
    roi = told.table("tactical").roi.drop("total").reindex(world.hierarchy.leaves).fillna(0).to_numpy()
    common = {"fit_s": fit.timing["warmup"] + fit.timing["sample"], "rhat": diagnostics(fit.drawn)["rhat"][0]}
    for step in STEPS:
        ways = {"Precision": Limits(change=step, seen=False)} | ({"Precision, seen range": Limits(change=step)} if step == MAIN else {})
        for method, limits in ways.items():
            started = time.perf_counter()
            best = fit.optimize(plan, limits)
            seconds = time.perf_counter() - started
            yield judge.row(method, step, factors(best), gap=best.gap, plan_s=seconds, **summary(best.uplift), **common)
        followed = proportional(roi, money, step)
        uplift = fit.evaluate(plan.with_spend(plan.spend.to_numpy() * followed), against=plan).uplift
        yield judge.row("follow the ROI", step, followed, **summary(uplift), **common)


def write(rows, file):
    with file.open("a", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        if out.tell() == 0:
            writer.writeheader()
        for row in rows:
            writer.writerow({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()})


def done(file, columns) -> set:
    return {tuple(line[name] for name in columns) for line in csv.DictReader(file.open())} if file.exists() else set()


def main(*groups):
    order = [(group, *pair) for i in range(max(map(len, map(worlds, GROUPS)))) for group in groups or GROUPS for pair in worlds(group)[i:i + 1]]
    for group, kind, seed in order:
        if (group, kind, str(seed)) in done(RESULTS, ("group", "kind", "seed")):
            continue
        started, world = time.perf_counter(), make_world(group, kind, seed)
        rows = list(plans_of(world, fit_of(world), Judge(world)))
        write(rows, RESULTS)
        print(time.strftime("%H:%M:%S"), group, kind, seed, f"{time.perf_counter() - started:.1f} s",
              [f"{row['realised'] / row['oracle']:.2f}" for row in rows if row["step"] == MAIN], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
