"""The linear nested model of Precision, written in NumPyro. It compiles inside its run, so a second run tells the two apart.

`DATA.npz RESULT careful` takes small steps and many draws, for the comparison of posteriors instead of times.
"""
import common
from common import CAREFUL, CHAINS, DRAWS, SEED, WARMUP, time

import numpyro

numpyro.set_host_device_count(CHAINS)
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS

imported = time.perf_counter()
data, path = common.arguments()
x = jnp.asarray(data.x)


def adstock(decay):
    out, weight, shift = x * (1 - decay), decay, 1
    while shift < len(x):
        out = out + weight * jnp.concatenate([jnp.zeros((shift, x.shape[1])), out[:-shift]])
        weight, shift = weight ** 2, 2 * shift
    return out


def model():
    normal = lambda name, size: numpyro.sample(name, dist.Normal(0, 1).expand([int(size)]))
    spread = numpyro.sample("decay_spread", dist.HalfNormal(0.5).expand([2]))
    centre = -0.85 + normal("decay_channel", data.channels)
    platform = centre[data.to_channel] + spread[1] * normal("z_decay_platform", data.platforms)
    decay = numpyro.deterministic("decay", 0.99 * jax.nn.sigmoid(platform[data.to_platform] + spread[0] * normal("z_decay", data.tacticals)))
    spread = numpyro.sample("effect_spread", dist.HalfNormal(0.8).expand([2]))
    centre = numpyro.deterministic("log_effect_channel", jnp.log(0.8) + normal("z_effect_channel", data.channels))
    platform = numpyro.deterministic("log_effect_platform", centre[data.to_channel] + spread[1] * normal("z_effect_platform", data.platforms))
    effect = numpyro.deterministic("log_effect_tactical", platform[data.to_platform] + spread[0] * normal("z_effect", data.tacticals))
    intercept = numpyro.sample("intercept", dist.Normal(0, 2))
    control = numpyro.sample("control_effect", dist.Normal(0, 1).expand([data.Z.shape[1]]))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    mean = intercept + adstock(decay) @ (jnp.exp(effect) * data.share) + data.Z_scaled @ control
    numpyro.sample("y", dist.Normal(mean, sigma), obs=data.y_scaled)


mcmc = MCMC(NUTS(model, target_accept_prob=0.97 if CAREFUL else 0.8), num_warmup=WARMUP, num_samples=DRAWS, num_chains=CHAINS, chain_method="parallel", progress_bar=False)
marks = [time.perf_counter()]
for _ in range(1 if CAREFUL else 2):  # the same run twice: the first compiles
    mcmc.run(jax.random.PRNGKey(SEED))
    draws = jax.block_until_ready(mcmc.get_samples(group_by_chain=True))
    marks.append(time.perf_counter())
first, second = marks[1] - marks[0], marks[-1] - marks[-2]
names = ("decay", "log_effect_tactical", "log_effect_platform", "log_effect_channel", "intercept", "control_effect", "sigma")
common.write(path, f"NumPyro {numpyro.__version__}",
             {"import": imported - common.STARTED, "compile": max(first - second, 0.0), "sample": second},
             {name: draws[name] for name in names}, divergences=int(mcmc.get_extra_fields(group_by_chain=True)["diverging"].sum()))
