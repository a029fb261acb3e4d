"""What each fit itself expects of the best plan: the mean, over draws, of the gain of the plan that is best in that draw. Adds lines to expected.csv.

    KEEP_FITS=folder python study.py; KEEP_FITS=folder python expected.py     # strong media, with the fits of the study
"""
import csv
import sys
import time
from pathlib import Path

import numpy as np
from study import RESULTS as STUDY
from study import done, fit_of, write
from worlds import MAIN, PERIODS, best_factors, make_world

from precision.plan_values import values_of

RESULTS, DRAWS = Path(__file__).parent / "expected.csv", 20


def expected_of_best(fit) -> float:
    plan, knots = fit.plan(PERIODS), np.round(np.arange(1 - MAIN, 1 + MAIN + 1e-9, 0.1), 6)
    ours, today = values_of(fit, plan), plan.spend.to_numpy()
    some = np.linspace(0, ours.size - 1, DRAWS).astype(int)
    tables = np.zeros((len(knots), today.shape[1], DRAWS))
    for i in ours.paid:
        tables[:, i] = [ours.brings(i, knot * today[:, i])[some] for knot in knots]
    now = tables[len(knots) // 2].sum(axis=0)
    return float(np.mean([best_factors(tables[..., d], knots, today.sum(axis=0), MAIN)[1] - now[d] for d in range(DRAWS)]))


def main(group="strong"):
    for kind, seed in dict.fromkeys((line["kind"], line["seed"]) for line in csv.DictReader(STUDY.open()) if line["group"] == group):
        if (group, kind, seed) not in done(RESULTS, ("group", "kind", "seed")):
            write([{"group": group, "kind": kind, "seed": seed, "expected_of_best": expected_of_best(fit_of(make_world(group, kind, int(seed))))}], RESULTS)
            print(time.strftime("%H:%M:%S"), group, kind, seed, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
