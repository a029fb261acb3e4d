"""The same worlds planned for the worst tenth of the draws, with the fits of the study; and what each fit itself expects the best plan to bring,
the mean over draws of each draw's own best: a planner who knew would reach it. Adds lines to cautious.csv.

    KEEP_FITS=folder python study.py; KEEP_FITS=folder python cautious.py
"""
import csv
import time
from pathlib import Path

import numpy as np
from study import RESULTS as STUDY
from study import Judge, done, fit_of, summary, write
from worlds import MAIN, PERIODS, best_factors, make_world

from precision.limits import Limits
from precision.plan_values import values_of
from precision.risk import Cautious

RESULTS, STEPS, DRAWS = Path(__file__).parent / "cautious.csv", (MAIN,), 40


def expected_of_best(fit, plan, money) -> float:
    "Mean over draws of the gain of the plan that is best in that draw."
    ours, today, knots = values_of(fit, plan), plan.spend.to_numpy(), np.round(np.arange(1 - MAIN, 1 + MAIN + 1e-9, 0.05), 6)
    some = np.linspace(0, ours.size - 1, DRAWS).astype(int)
    tables = np.zeros((len(knots), len(money), DRAWS))
    for i in ours.paid:
        tables[:, i] = [ours.brings(i, knot * today[:, i])[some] for knot in knots]
    now = tables[np.argmin(np.abs(knots - 1))].sum(axis=0)
    return float(np.mean([best_factors(tables[..., d], knots, money, MAIN)[1] - now[d] for d in range(DRAWS)]))


def rows_of(world):
    fit, judge = fit_of(world), Judge(world)
    plan, money = fit.plan(PERIODS), judge.money
    for step in STEPS:
        started = time.perf_counter()
        best = fit.optimize(plan, Limits(change=step, seen=False), aim=Cautious(0.1))
        seconds = time.perf_counter() - started
        factors = np.where(money > 0, best.plan.spend.to_numpy().sum(axis=0) / np.maximum(money, 1e-300), 1.0)
        row = judge.row("Cautious(0.1)", step, factors, gap=best.gap, plan_s=seconds, **summary(best.uplift))
        yield row | {"expected_of_best": expected_of_best(fit, plan, money)}


def main():
    judged = list(dict.fromkeys((line["group"], line["kind"], line["seed"]) for line in csv.DictReader(STUDY.open())))
    turn = {world: [one for one in judged if one[0] == world[0]].index(world) for world in judged}
    for group, kind, seed in sorted(judged, key=turn.get):  # the first of every group, then the second
        if (group, kind, seed) not in done(RESULTS, ("group", "kind", "seed")):
            rows = list(rows_of(make_world(group, kind, int(seed))))
            write(rows, RESULTS)
            print(time.strftime("%H:%M:%S"), group, kind, seed, [f"{row['realised'] / row['oracle']:.2f} {row['plan_s']:.1f} s" for row in rows], flush=True)


if __name__ == "__main__":
    main()
