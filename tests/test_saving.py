"""Nothing is lost: files come back or are refused in words, saving is all or nothing, and a run survives what befalls it."""

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import xarray as xr

from precision import model, runs, sampling, saving
from precision.draws import groups_of
from precision.ensemble import EnsembleResult
from precision.experiments import LiftTest
from precision.errors import PrecisionError, PrecisionWarning
from precision.hierarchy import build_hierarchy, rows_of_nodes
from precision.metrics import Report
from precision.model import MMM, Fit, former_default
from precision.program import Program
from precision.storage import write_atomically
from precision.saving import load_groups, save_groups
from precision.saving import attributes_of

pytestmark = pytest.mark.filterwarnings("ignore:.*(noisy|disagree|diverged|few draws|E-BFMI):precision.errors.PrecisionWarning")
OLD = Path(__file__).parent / "files" / "format_1.nc"
QUICK = dict(chains=2, warmup=60, draws=100, seed=1, progress=False)


@pytest.fixture(scope="module")
def fit():
    return Fit.load(OLD)


@pytest.fixture
def file(fit, tmp_path):
    fit.save(tmp_path / "fit.nc")
    return tmp_path / "fit.nc"


@pytest.fixture(scope="module")
def again(fit):
    "The model of the kept fit, fitted anew with other settings."
    weeks = fit.data.time
    def run(**settings):
        U = pd.DataFrame(fit.data.U, weeks, ["radio", "tv"])
        return MMM(fit.hierarchy).fit(pd.Series(fit.data.y, weeks), U, **QUICK | settings)
    return run


def names(folder):
    return sorted(item.name for item in Path(folder).iterdir())


# Old and new formats

def test_a_file_of_format_1_answers_as_it_did(fit):
    h = build_hierarchy({"audio": ["radio"], "screen": ["tv"]}, ["line", "channel"])
    assert fit.mmm == former_default(h) and fit.sample_shape == (2, 10) and len(fit.data.y) == 18
    assert fit.decay_rates()["mean"].round(4).to_dict() == {"radio": 0.2205, "tv": 0.2214}
    assert rows_of_nodes(fit.shares())["contribution"].round(2).to_dict() == {"audio": 806.07, "screen": 433.67}
    assert len(fit.holdout.time) == 2 and len(fit.lifts()) == 2


def test_dates_of_experiments_in_format_1_come_back(fit):
    first, _, by_text = fit.experiments
    assert first.start == pd.Timestamp("2024-01-29") and isinstance(first.start, pd.Timestamp)
    assert by_text.start == "2024-03-04"


def test_an_old_file_saved_anew_is_of_todays_format_and_the_same(fit, file):
    loaded, attrs = Fit.load(file), load_groups(file)[1]
    assert attrs["precision_format"] == saving.FORMAT and attrs["precision_version"] == saving.version("precision-mmm")
    assert loaded.mmm == fit.mmm and loaded.experiments == fit.experiments and loaded.notes == fit.notes
    for name, group in groups_of(fit.idata).items():
        assert groups_of(loaded.idata)[name].identical(group), name


def test_every_older_format_has_its_migration():
    assert sorted(saving.MIGRATIONS) == list(range(1, saving.FORMAT))


@pytest.mark.parametrize("day", [pd.Timestamp("2024-02-05"), date(2024, 2, 5), np.datetime64("2024-02-05"), "2024-02-05",
                                 pd.Period("2024-02-05", "W-SUN")])
def test_experiments_equal_the_original_after_loading(fit, tmp_path, day):
    one = LiftTest("tv", day, day, np.float32(-60), 20, change=-1)
    replace(fit, experiments=(one,)).save(tmp_path / "fit.nc")
    assert Fit.load(tmp_path / "fit.nc").experiments == (one,)


def test_no_file_stays_open(tmp_path):
    "HDF5 closes what is open when the process ends, after Python is gone: that is a crash."
    damaged, content, refused = tmp_path / "damaged.nc", bytearray(OLD.read_bytes()), 0
    for place in range(len(content) // 3, len(content), len(content) // 7):
        content[place:place + 400] = bytes(400)
        damaged.write_bytes(content)
        try:
            Fit.load(damaged)
        except PrecisionError:
            refused += 1
    kept = Fit.load(OLD)
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0 and refused and kept.posterior


def test_a_newer_format_says_which_version_to_install(fit, tmp_path):
    save_groups(tmp_path / "a.nc", groups_of(fit.idata), attributes_of(fit) | {"precision_format": 7, "precision_version": "4.2.0"})
    with pytest.raises(PrecisionError, match=r"a\.nc.*format 7.*Precision 4\.2\.0.*precision-mmm>=4\.2\.0"):
        Fit.load(tmp_path / "a.nc")


# Files that are refused

def spoilt(fit, change, **attrs):
    groups = dict(groups_of(fit.idata))
    change(groups)
    return groups, attributes_of(fit) | attrs


def drop_variable(group, name):
    return lambda groups: groups.update({group: groups[group].drop_vars(name)})


@pytest.mark.parametrize("change, words", [
    (lambda groups: groups.pop("log_likelihood"), "group 'log_likelihood' is missing"),
    (drop_variable("posterior", "decay"), "variable 'decay' of the group 'posterior' is missing"),
    (drop_variable("posterior", "effect_channel"), "variable 'effect_channel'"),
    (drop_variable("posterior", "saturation_level"), "variable 'saturation_level'"),
    (drop_variable("sample_stats", "diverging"), "variable 'diverging'"),
    (drop_variable("constant_data", "exposure"), "variable 'exposure'"),
    (lambda groups: groups.update(posterior=groups["posterior"].transpose(..., "draw", "chain")), r"axes \(.*\); numbers with the axes"),
    (lambda groups: groups.update(observed_data=groups["observed_data"].isel(time=slice(9))), "labels along 'time'"),
    (lambda groups: groups.update(constant_data=groups["constant_data"].isel(line=[1, 0])), "labels along 'line'"),
    (lambda groups: groups.update(sample_stats=groups["sample_stats"].isel(draw=slice(5))), "labels along 'draw'"),
    (lambda groups: groups.update(observed_data=groups["observed_data"].astype(str)), "numbers with the axes"),
])
def test_what_is_missing_or_misshapen_is_named(fit, tmp_path, change, words):
    save_groups(tmp_path / "a.nc", *spoilt(fit, change))
    with pytest.raises(PrecisionError, match=rf"a\.nc.*{words}"):
        Fit.load(tmp_path / "a.nc")


def edited(fit, **parts):
    return json.dumps(json.loads(attributes_of(fit)["specification"]) | parts)


@pytest.mark.parametrize("attrs, words", [
    ({"precision_format": "two"}, "format two"), ({"precision_format": 0}, "format 0"),
    ({"specification": "{"}, "specification is damaged"), ({"specification": "[]"}, "specification is damaged"),
    ({"specification": {"options": {"magic": 1}}}, "option 'magic' is not known"),
    ({"specification": {"priors": {"magic": 1}}}, "prior 'magic' is not known"),
    ({"specification": {"experiments": [{"kind": "horoscope"}]}}, "damaged"),
    ({"specification": {"rows": [["radio", "audio"]]}}, "labels along 'line'"),
])
def test_a_damaged_specification_is_refused(fit, tmp_path, attrs, words):
    attrs = {name: edited(fit, **value) if isinstance(value, dict) else value for name, value in attrs.items()}
    save_groups(tmp_path / "a.nc", *spoilt(fit, lambda groups: None, **attrs))
    with pytest.raises(PrecisionError, match=rf"a\.nc.*{words}"):
        Fit.load(tmp_path / "a.nc")


def foreign_netcdf(path):
    xr.Dataset({"temperature": ("x", [1.0])}).to_netcdf(path, engine="h5netcdf")


@pytest.mark.parametrize("make, words", [
    (lambda path: path.write_bytes(b""), "it is empty"), (lambda path: path.write_text("week,sales\n1,2"), "not a fit.*b'week,sal'"),
    (lambda path: path.mkdir(), "is a folder"), (foreign_netcdf, "not a fit that Precision saved"), (lambda path: None, "there is no file"),
    (lambda path: path.write_bytes(OLD.read_bytes()[:8]), "cut short"), (lambda path: path.write_bytes(OLD.read_bytes()[:-1]), "cut short"),
    (lambda path: path.write_bytes(OLD.read_bytes()[:40_000]), "cut short"), (lambda path: path.write_bytes(pickle.dumps({})), "not a fit"),
])
def test_what_is_no_fit_is_refused(tmp_path, make, words):
    make(tmp_path / "x.nc")
    with pytest.raises(PrecisionError, match=rf"(?s)x\.nc.*{words}|{words}.*x\.nc"):
        Fit.load(tmp_path / "x.nc")


def test_one_fallen_bit_among_the_draws_is_noticed(fit, file):
    content = bytearray(file.read_bytes())
    place = content.find(fit.posterior["decay"].values.tobytes())
    content[place + 20] ^= 1
    file.write_bytes(content)
    assert place > 0
    with pytest.raises(PrecisionError, match="damaged"):
        Fit.load(file)


def test_random_damage_gives_a_precision_error_or_the_same_fit(fit, file):
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    for _ in range(25):
        content = bytearray(whole)
        for place in rng.integers(len(whole), size=20):
            content[place] ^= int(rng.integers(1, 256))
        file.write_bytes(content)
        try:
            loaded = Fit.load(file)
        except PrecisionError:
            continue
        assert loaded.mmm == fit.mmm and loaded.posterior.equals(fit.posterior)


def test_nothing_executes_when_a_file_is_read(file):
    Fit.load(file)  # what is imported on first use is imported now
    seen, listening = set(), [True]
    sys.addaudithook(lambda event, _: seen.add(event) if listening else None)  # a hook stays until the process ends
    Fit.load(file)
    listening.clear()
    assert "open" in seen, "the hook saw nothing at all"
    assert not seen & {"exec", "compile", "import", "pickle.find_class", "marshal.loads", "subprocess.Popen", "os.system", "ctypes.dlopen"}


class Evil:
    def __reduce__(self):
        return os.mkdir, ("owned",)


def test_a_pickle_that_calls_itself_a_fit_is_not_run(file, fit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.nc").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(PrecisionError):
        Fit.load("a.nc")
    save_groups("b.nc", *spoilt(fit, lambda groups: None, specification=pickle.dumps(Evil(), 0).decode("latin-1")))
    with pytest.raises(PrecisionError, match="damaged"):
        Fit.load("b.nc")
    assert not Path("owned").exists()


# All or nothing

def test_the_mode_follows_the_umask_and_a_replaced_file_keeps_its_own(fit, tmp_path):
    before = os.umask(0o027)
    try:
        fit.save(tmp_path / "fit.nc")
        assert (tmp_path / "fit.nc").stat().st_mode & 0o777 == 0o640
        (tmp_path / "fit.nc").chmod(0o600)
        fit.save(tmp_path / "fit.nc")
        assert (tmp_path / "fit.nc").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_a_link_stays_and_its_file_is_replaced(fit, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "fit.nc").write_text("old")
    (tmp_path / "link.nc").symlink_to(Path("there") / "fit.nc")
    fit.save(tmp_path / "link.nc")
    assert (tmp_path / "link.nc").is_symlink() and names(tmp_path / "there") == ["fit.nc"]
    assert Fit.load(tmp_path / "there" / "fit.nc").mmm == fit.mmm
    (tmp_path / "loose.nc").symlink_to("nowhere/fit.nc")
    with pytest.raises(PrecisionError, match="loose.nc.*folder does not exist"):
        fit.save(tmp_path / "loose.nc")


@pytest.mark.parametrize("place, words", [("no/where.nc", "folder does not exist"), ("", "is a folder"), ("file/fit.nc", "mixed up")])
def test_a_place_that_cannot_be_written_is_named(fit, tmp_path, place, words):
    (tmp_path / "file").touch()
    with pytest.raises(PrecisionError, match=words):
        fit.save(tmp_path / place)
    assert names(tmp_path) == ["file"]


SLOW_WRITER = """
import os, sys, time
from precision import Fit
fit, fsync = Fit.load(sys.argv[1]), os.fsync
def wait(handle):
    fsync(handle)
    print("half way", flush=True)
    time.sleep(60)
os.fsync = wait
fit.save(sys.argv[1])
"""


def test_a_kill_in_the_middle_leaves_the_old_file(file):
    before = file.read_bytes()
    process = subprocess.Popen([sys.executable, "-c", SLOW_WRITER, file], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "half way\n"
    assert len(names(file.parent)) == 2, "it was not killed in the middle"
    process.kill()
    process.wait()
    assert file.read_bytes() == before and Fit.load(file)


@contextmanager
def full_disk(size):
    "Files cannot grow beyond some bytes: what a write sees on a full disk, but for the number of the error."
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_a_full_disk_while_saving_leaves_the_old_file(fit, file):
    before = file.read_bytes()
    with pytest.raises(PrecisionError, match=r"fit\.nc.*raise the limit, or name another place"), full_disk(20_000):
        fit.save(file)
    assert names(file.parent) == ["fit.nc"] and file.read_bytes() == before and Fit.load(file)


@pytest.mark.skipif(os.name != "posix" or not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_called_so(tmp_path):
    def onto_full(_):
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(PrecisionError, match="the disk is full; make room there"):
        write_atomically(tmp_path / "a", onto_full)
    assert names(tmp_path) == []


# Ensembles

@pytest.fixture(scope="module")
def result(fit):
    return EnsembleResult({"clicks": fit, "views": fit}, {"clicks": 0.25, "views": 0.75}, Report(()), "given", 3)


def test_a_full_disk_leaves_the_old_ensemble_and_no_new_folder(result, tmp_path):
    result.save(tmp_path / "a")
    before = {item.name: item.read_bytes() for item in (tmp_path / "a").iterdir()}
    for name in ("a", "b"):
        with pytest.raises(PrecisionError, match="name another place"), full_disk(20_000):
            replace(result, seed=9).save(tmp_path / name)
    assert names(tmp_path) == ["a"] and {item.name: item.read_bytes() for item in (tmp_path / "a").iterdir()} == before


@pytest.mark.parametrize("files", range(4))
def test_whenever_saving_an_ensemble_ends_the_folder_holds_one_result_whole(result, tmp_path, monkeypatch, files):
    class Killed(BaseException):
        pass

    result.save(tmp_path / "a")
    written, replace_file = [], os.replace

    def dies(*where):
        if len(written) == files:
            raise Killed
        written.append(where)
        replace_file(*where)

    with monkeypatch.context() as patch:  # as after a kill: nothing is tidied up either
        patch.setattr(os, "replace", dies)
        patch.setattr(Path, "unlink", lambda *a, **k: None)
        try:
            replace(result, seed=9).save(tmp_path / "a")
        except Killed:
            assert files < 3
    assert EnsembleResult.load(tmp_path / "a").seed == (9 if files == 3 else 3)
    for item in (tmp_path / "a").iterdir():
        os.utime(item, (0, 0))  # so old that no one can be writing them still
    result.save(tmp_path / "a")
    assert EnsembleResult.load(tmp_path / "a").seed == 3 and len(names(tmp_path / "a")) == 3


def test_an_ensemble_of_which_a_part_is_gone_or_exchanged_is_refused(fit, result, tmp_path):
    result.save(tmp_path)
    part = sorted(tmp_path.glob("metric_1*"))[0]
    other = replace(fit, data=replace(fit.data, y=fit.data.y * 2))
    groups = groups_of(fit.idata) | {"observed_data": groups_of(fit.idata)["observed_data"] * 2}
    save_groups(part, groups, attributes_of(other))
    with pytest.raises(PrecisionError, match="'views' is of another outcome"):
        EnsembleResult.load(tmp_path)
    part.unlink()
    with pytest.raises(PrecisionError, match="no file.*metric_1"):
        EnsembleResult.load(tmp_path)
    with pytest.raises(PrecisionError, match="EnsembleResult.load"):
        Fit.load(tmp_path)


@pytest.mark.parametrize("change, words", [
    ({"precision_ensemble": 5, "precision_version": "4.2.0"}, "Precision 4.2.0.*precision-mmm>=4.2.0"),
    ({"metrics": []}, "damaged"), ({"report": [{"guess": 1}]}, "damaged"), ({"report": None}, "damaged"),
    ({"weights": 1}, None)])
def test_an_index_that_makes_no_sense_is_refused(result, tmp_path, change, words):
    result.save(tmp_path)
    index = json.loads((tmp_path / "ensemble.json").read_text()) | change
    (tmp_path / "ensemble.json").write_text(json.dumps(index))
    if words is None:  # what is not known is passed over
        assert EnsembleResult.load(tmp_path).weights == result.weights
        return
    with pytest.raises(PrecisionError, match=words):
        EnsembleResult.load(tmp_path)


# Checkpoints

def test_a_full_disk_under_a_checkpoint_is_said_once_and_the_run_goes_on(again, tmp_path):
    whole = again()
    with warnings.catch_warnings(record=True) as said, full_disk(2_000):  # enough for the card, too little for a chunk
        warnings.simplefilter("always")
        kept = again(checkpoint=tmp_path)
    said = [str(one.message) for one in said if "checkpoint" in str(one.message)]
    assert len(said) == 1 and str(tmp_path) in said[0] and "goes on without it" in said[0]
    assert kept.posterior.equals(whole.posterior) and names(tmp_path) == ["run.json"]
    assert again(checkpoint=tmp_path).posterior.equals(whole.posterior) and len(names(tmp_path)) > 5  # room was made


def test_a_checkpoint_that_cannot_even_begin_is_refused_before_sampling(again, tmp_path):
    with pytest.raises(PrecisionError, match="checkpoint: .*run.json"), full_disk(10):
        again(checkpoint=tmp_path / "new")


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(b""), lambda path: path.write_bytes(path.read_bytes()[:-30]), lambda path: path.write_text("not a chunk"),
    lambda path: np.savez(path, start=np.zeros(2)), lambda path: path.write_bytes(pickle.dumps(Evil())),
    lambda path: np.savez(path, start=np.zeros(8), adaptation=np.zeros(5), draws=np.zeros((50, 3)), stats=np.zeros((50, 7)))])
def test_a_damaged_chunk_is_named_and_can_be_deleted(again, tmp_path, damage):
    whole = again(checkpoint=tmp_path)
    chunk = sorted(tmp_path.glob("chain01*.npz"))[1]
    damage(chunk)
    with pytest.raises(PrecisionError, match=f"{chunk.name}.*damaged.*delete this one file"):
        again(checkpoint=tmp_path)
    chunk.unlink()
    assert again(checkpoint=tmp_path).posterior.equals(whole.posterior)


@pytest.mark.parametrize("change, words", [
    (lambda card: card.write_text(card.read_text().replace("precision 0", "precision 9")), "another version"),
    (lambda card: card.write_text("[]"), "another|cannot use"), (lambda card: card.write_text("3"), "cannot use"),
    (lambda card: card.unlink(), "missing")])
def test_a_checkpoint_of_another_version_or_without_its_card_is_refused(again, tmp_path, change, words):
    again(checkpoint=tmp_path)
    change(tmp_path / "run.json")
    with pytest.raises(PrecisionError, match=words):
        again(checkpoint=tmp_path)


# Faults in the middle of a run

def in_chunk(monkeypatch, number, fault):
    "Let `fault` happen when the program is called for the so-manieth time; it is called from the chains' threads."
    original, calls, lock = Program.transitions, [], threading.Lock()

    def transitions(*arguments):
        with lock:
            calls.append(threading.current_thread())
            now = len(calls) == number
        if now:
            fault()
        return original(*arguments)

    monkeypatch.setattr(Program, "transitions", transitions)


def raises(error):
    def fault():
        raise error
    return fault


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.2)


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")])
def test_when_memory_runs_out_it_is_said_and_what_is_finished_is_kept(again, tmp_path, monkeypatch, error):
    whole = again()
    with monkeypatch.context() as patch:
        in_chunk(patch, 6, raises(error))
        with pytest.raises(PrecisionError, match="memory ran out after .* transitions.*threads=1.*the same call goes on there"):
            again(checkpoint=tmp_path)
    kept = names(tmp_path)
    assert len(kept) >= 5
    assert again(checkpoint=tmp_path).posterior.equals(whole.posterior)
    with monkeypatch.context() as patch:
        in_chunk(patch, 6, raises(error))
        with pytest.raises(PrecisionError, match="With checkpoint='folder' what is finished would be kept"):
            again()


def test_an_error_in_a_thread_comes_out_and_the_other_chains_stop(again, tmp_path, monkeypatch):
    in_chunk(monkeypatch, 5, raises(ZeroDivisionError("a bug")))
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="a bug"):
        again(draws=5000, checkpoint=tmp_path)
    assert len(names(tmp_path)) < 12 and threading.active_count() <= before


def test_ctrl_c_while_sampling_keeps_the_draws(again, monkeypatch):
    whole = again(draws=1000)
    in_chunk(monkeypatch, 12, ctrl_c)
    part = again(draws=1000)
    length = part.sample_shape[1]
    assert 0 < length < 1000 and f"stopped by hand after {length} draws per chain" in part.notes
    assert (part.posterior["decay"].values == whole.posterior["decay"].values[:, :length]).all()


def test_ctrl_c_during_warm_up_ends_the_call_and_the_checkpoint_goes_on(again, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        in_chunk(patch, 2, ctrl_c)
        with pytest.raises(KeyboardInterrupt, match="no draw to keep.*the same call goes on there"):
            again(checkpoint=tmp_path)
    assert again(checkpoint=tmp_path).posterior.equals(again().posterior)


@pytest.mark.parametrize("where, name", [(model, "prepare"), (model, "_report"), (sampling, "Program")])
def test_ctrl_c_outside_the_sampler_ends_the_call_and_spoils_nothing(again, monkeypatch, where, name):
    original = getattr(where, name)

    def stopped(*arguments, **options):
        ctrl_c()
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(where, name, stopped)
        with pytest.raises(KeyboardInterrupt):
            again()
    assert again().sample_shape == (2, 100)


def test_ctrl_c_while_counting_effective_draws_keeps_the_draws(again, monkeypatch):
    monkeypatch.setattr(runs, "smallest_ess", lambda values: ctrl_c())
    assert "stopped by hand after 100 draws per chain" in again(target_ess=5000).notes


def test_a_second_ctrl_c_ends_the_call(again, monkeypatch):
    def twice():
        ctrl_c()
        ctrl_c()

    in_chunk(monkeypatch, 12, twice)
    with pytest.raises(KeyboardInterrupt):
        again(draws=1000)


# What was written before totals were stated

def of_format_2(fit, **priors):
    "Groups and attributes as the version before would have written them."
    attrs = attributes_of(fit)
    spec = json.loads(attrs["specification"])
    spec["options"] = {name: value for name, value in spec["options"].items() if name not in ("measure", "baseline", "past")}
    spec["priors"] = {name: value for name, value in spec["priors"].items() if name != "media_share"} | priors
    del spec["baseline"]
    return groups_of(fit.idata), attrs | {"precision_format": 2, "specification": json.dumps(spec)}


def test_a_file_of_format_2_is_the_former_default_and_answers_as_it_did(tmp_path):
    h = build_hierarchy({"x": ["a"], "y": ["b"]}, ["tactical", "channel"])
    rng = np.random.default_rng(0)
    U = pd.DataFrame(rng.gamma(2.0, size=(40, 2)), pd.date_range("2024-01-01", periods=40, freq="W-MON"), list("ab"))
    fit = former_default(h).fit(10 + U.sum(axis=1) + rng.normal(size=40), U, chains=2, warmup=60, draws=20, progress=False)
    save_groups(tmp_path / "old.nc", *of_format_2(fit))
    loaded = Fit.load(tmp_path / "old.nc")
    assert loaded.mmm == fit.mmm and not loaded.data.moving and not loaded.data.before.any()
    for table in ("contributions", "decomposition", "decay_rates", "shares", "fitted"):
        pd.testing.assert_frame_equal(getattr(loaded, table)(), getattr(fit, table)(), check_freq=False)
    new = np.ones((5, 2))
    pd.testing.assert_frame_equal(loaded.predict(new), fit.predict(new), check_freq=False)
    save_groups(tmp_path / "stated.nc", *of_format_2(fit, roi={"x": 2.0}))
    with pytest.raises(PrecisionError, match="Priors.roi=...., which meant the efficiency of a node then"):
        Fit.load(tmp_path / "stated.nc")
