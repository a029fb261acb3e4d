"Meridian's own national model of the same data, every tactical a channel. It compiles anew in every run; a run of twenty transitions tells how long that takes."
import common
from common import CHAINS, DRAWS, SEED, WARMUP, time

import numpy as np
import pandas as pd
import meridian
from meridian.data import data_frame_input_data_builder
from meridian.model import model, spec

imported = time.perf_counter()
data, path = common.arguments()
media, controls = [f"t{i}" for i in range(data.tacticals)], [f"z{j}" for j in range(data.Z.shape[1])]
frame = pd.DataFrame(np.column_stack([data.U, data.Z]), columns=media + controls)
frame["time"] = pd.date_range("2022-01-03", periods=data.periods, freq="7D").strftime("%Y-%m-%d")
frame["kpi"] = data.y
for name in media:
    frame[f"{name}_spend"] = frame[name]
builder = (data_frame_input_data_builder.DataFrameInputDataBuilder(kpi_type="revenue", default_kpi_column="kpi", default_time_column="time")
           .with_kpi(frame).with_controls(frame, control_cols=controls)
           .with_media(frame, media_cols=media, media_spend_cols=[f"{name}_spend" for name in media], media_channels=media))
marks, built = [], builder.build()
for warmup, draws in ((10, 10), (WARMUP, DRAWS)):
    mmm = model.Meridian(input_data=built, model_spec=spec.ModelSpec())
    started = time.perf_counter()
    mmm.sample_posterior(n_chains=CHAINS, n_adapt=warmup // 2, n_burnin=warmup // 2, n_keep=draws, seed=SEED)
    marks.append(time.perf_counter() - started)
posterior = mmm.inference_data.posterior
names = [name for name in ("alpha_m", "ec_m", "slope_m", "roi_m", "beta_m", "gamma_c", "knot_values", "sigma") if name in posterior]
draws = {name: np.asarray(posterior[name].values, float) for name in names}
draws = {name: value for name, value in draws.items() if value.std() > 0}
common.write(path, f"Meridian {meridian.__version__}",
             {"import": imported - common.STARTED, "compile": marks[0], "sample": marks[1] - marks[0]}, draws,
             divergences=int(np.sum(mmm.inference_data.sample_stats["diverging"].values)))
