"What every library's script shares: reading the data, timing, and writing draws down."
import json
import os
import resource
import sys
import time
from pathlib import Path

STARTED = time.perf_counter()  # this module is imported first, before anything heavy
CAREFUL = "careful" in sys.argv  # a run to compare posteriors by, not times
CHAINS, WARMUP, DRAWS, SEED = 4, *((1000, 4000) if CAREFUL else (500, 1000)), 1


class Data:
    "The data set of a benchmark, standardised as the model says."

    def __init__(self, path):
        import numpy as np

        kept = np.load(path)
        self.y, self.U, self.Z = kept["y"], kept["U"], kept["Z"]
        self.to_platform, self.to_channel = kept["to_platform"], kept["to_channel"]  # parent of tactical, of platform
        channel = self.to_channel[self.to_platform]
        mean = self.U.mean(axis=0)
        self.x = self.U / mean
        self.share = mean / np.bincount(channel, mean)[channel]
        self.y_scaled = (self.y - self.y.mean()) / self.y.std()
        self.Z_scaled = (self.Z - self.Z.mean(axis=0)) / self.Z.std(axis=0)
        self.platforms, self.channels = len(self.to_channel), int(self.to_channel.max()) + 1
        self.periods, self.tacticals = self.U.shape


def arguments():
    "(data, path for the results) of the command line: DATA.npz RESULT"
    return Data(sys.argv[1]), Path(sys.argv[2])


def write(path, library, seconds, draws, **more):
    "The draws [chain, draw, ...] by name as npz, and seconds and memory as JSON beside them."
    import numpy as np

    np.savez(path.with_suffix(".npz"), **{name: np.asarray(value) for name, value in draws.items()})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    path.with_suffix(".json").write_text(json.dumps({"library": library, "seconds": seconds, "peak_MB": peak,
                                                     "cores": len(os.sched_getaffinity(0)), **more}))
