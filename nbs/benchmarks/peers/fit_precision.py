"Precision's own fit: `DATA.npz RESULT none|michaelis_menten`, and `careful` for many draws. PRECISION_CACHE tells where programs are kept."
import common
from common import CHAINS, DRAWS, SEED, WARMUP, time

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
from precision import MMM, build_hierarchy
from precision.model import former_default

imported_light = time.perf_counter()
data, path = common.arguments()
tree = {}
for i, p in enumerate(data.to_platform):
    tree.setdefault(f"c{data.to_channel[p]}", {}).setdefault(f"p{p}", []).append(f"t{i}")
hierarchy = build_hierarchy(tree)
mmm = former_default(hierarchy, saturation="none") if sys.argv[3] == "none" else MMM(hierarchy, saturation=sys.argv[3])  # the same model as the peers', or the default
imported = time.perf_counter()
fit = mmm.fit(data.y, data.U, data.Z, chains=CHAINS, warmup=WARMUP, draws=DRAWS, seed=SEED, progress=False)
post, sd = fit.posterior, data.y.std()
logged = {f"log_{name}": np.log(post[name].values) for name in ("effect_tactical", "effect_platform", "effect_channel")}
draws = {"decay": post["decay"].values, **logged, "intercept": (post["intercept"].values - data.y.mean()) / sd,
         "control_effect": post["control_effect"].values * data.Z.std(axis=0) / sd, "sigma": post["sigma"].values / sd}
if "saturation_level" in post:
    draws["saturation_level"] = post["saturation_level"].values
common.write(path, "Precision", {"import": imported - common.STARTED, "compile": fit.timing["compile"],
                                 "sample": fit.timing["warmup"] + fit.timing["sample"], "report": fit.timing["report"]},
             draws, divergences=int(fit.drawn["sample_stats"]["diverging"].values.sum()))
