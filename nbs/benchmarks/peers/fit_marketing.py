"PyMC-Marketing's own model of the same data, as its guide introduces it, every tactical a channel, sampled by nutpie."
import common
from common import CHAINS, DRAWS, SEED, WARMUP, time

import numpy as np
import nutpie
import pandas as pd
import pymc_marketing
from pymc_marketing.mmm import GeometricAdstock, LogisticSaturation

try:
    from pymc_marketing.mmm import MMM
except ImportError:
    from pymc_marketing.mmm.multidimensional import MMM

imported = time.perf_counter()
data, path = common.arguments()
media, controls = [f"t{i}" for i in range(data.tacticals)], [f"z{j}" for j in range(data.Z.shape[1])]
X = pd.DataFrame(np.column_stack([data.U, data.Z]), columns=media + controls)
X.insert(0, "date", pd.date_range("2022-01-03", periods=data.periods, freq="7D"))
mmm = MMM(date_column="date", channel_columns=media, control_columns=controls, adstock=GeometricAdstock(l_max=8),
          saturation=LogisticSaturation())
mmm.build_model(X, pd.Series(data.y, name="y"))
compiled = nutpie.compile_pymc_model(mmm.model)
ready = time.perf_counter()
trace = nutpie.sample(compiled, draws=DRAWS, tune=WARMUP, chains=CHAINS, seed=SEED, progress_bar=False)
done = time.perf_counter()
names = [v.name for v in mmm.model.free_RVs]
common.write(path, f"PyMC-Marketing {pymc_marketing.__version__}, nutpie {nutpie.__version__}",
             {"import": imported - common.STARTED, "compile": ready - imported, "sample": done - ready},
             {name: trace.posterior[name].values for name in names},
             divergences=int(trace.sample_stats["diverging"].values.sum()))
