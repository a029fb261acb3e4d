"""What would bring plans nearer to the best: the first strong worlds once more, with twice the weeks, and with lift tests: adds lines to remedies.csv.

    python remedies.py       # about eight minutes on two cores

Tested are the lines with most money: off for eight weeks, a year before the data end, counted for four weeks longer, with a standard
error of 15% of the true lift.
"""
import time
from pathlib import Path

import numpy as np
import pandas as pd
from study import Judge, done, fit_of, plans_of, write
from worlds import HISTORY, WEEKS, of_simulation, worlds

from precision import LiftTest

RESULTS = Path(__file__).parent / "remedies.csv"
SETS, WEEKS_OFF, COUNTED, ERROR = 18, 8, 12, 0.15


def lift_tests(world, lines) -> list:
    rng, U, found = np.random.default_rng([world.seed, 9]), pd.concat([world.U_history, world.U]).to_numpy(), []
    first = len(U) - 52 - COUNTED
    for i in np.argsort(-world.spend.sum().to_numpy())[:lines]:
        without = U.copy()
        without[first:first + WEEKS_OFF, i] = 0
        lift = (world.whole(without) - world.whole(U))[first:first + COUNTED].sum()
        if abs(lift) > 0:  # it ran in these weeks
            se, dates = ERROR * abs(lift), world.y.index[first - HISTORY:]
            found.append(LiftTest(world.hierarchy.leaves[i], dates[0], dates[WEEKS_OFF - 1], change=-1, lift=rng.normal(lift, se), se=se,
                                  until=dates[COUNTED - 1]))
    return found


REMEDIES = {"twice the weeks": (2 * WEEKS - HISTORY, 0), "three lift tests": (WEEKS, 3)}


def main():
    for kind, seed in worlds("strong")[:SETS]:
        for name, (periods, lines) in REMEDIES.items():
            if (name, str(seed)) in done(RESULTS, ("kind", "seed")):
                continue
            world = of_simulation("strong", kind, seed, periods)
            tests = lift_tests(world, lines)
            rows = [row | {"kind": name} for row in plans_of(world, fit_of(world, tests), Judge(world)) if row["method"] == "Precision"]
            write(rows, RESULTS)
            print(time.strftime("%H:%M:%S"), name, seed, len(tests), [f"{row['realised'] / row['oracle']:.2f}" for row in rows], flush=True)


if __name__ == "__main__":
    main()
