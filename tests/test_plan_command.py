"""`precision plan`: whatever it is given, it plans, or says in one line what is wrong."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from precision.cli import main
from precision.errors import PrecisionError
from precision.limits import Limits
from precision.limits_file import LimitsFile, in_limits_file, read_limits
from precision.model import MMM
from precision.optimum import Mean
from precision.plan_command import aim_of, amount_of, limits_in_words, limits_of, load_results, periods_of
from precision.risk import Cautious
from precision.simulate import simulate
from precision.targets import Reach, TargetMarginalROI, TargetROI

LIMITS = """\
nodes:
  tv: [100000, 900000]
  google_brand: [null, 400000]
change: 0.5
fixed: [stream_sport]
windows:
  - {node: social, start: 2024-02, end: 2024-03, upper: 200000}
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    "A small fit of 104 weeks, saved as `precision fit` saves it."
    folder, sim = tmp_path_factory.mktemp("fit") / "results", simulate(periods=104, seed=3)
    fit = MMM(sim.hierarchy).fit(sim.y, sim.U, sim.Z, sim.spend, seed=1, chains=2, draws=100, warmup=200, progress=False)
    folder.mkdir()
    fit.save(folder / "fit.nc")
    return folder


@pytest.fixture
def desk(tmp_path, monkeypatch):
    "An empty folder, from which the program is called; `desk(file, text)` writes a file."
    monkeypatch.chdir(tmp_path)
    return lambda name, text: (tmp_path / name).write_text(text)


def refused(capsys, saved, *words, parts=()):
    "The program leaves with 2 and one line that holds every part."
    assert main(["plan", str(saved), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("precision: ") and said.count("\n") == 1 and "Traceback" not in said
    for part in parts:
        assert part in said, f"{part!r} is not in: {said}"


def table(path):
    return pd.read_csv(path, index_col=0)


@pytest.mark.parametrize("over", ["totals", "periods"])
def test_a_plan_keeps_its_limits_and_its_promises(saved, desk, tmp_path, capsys, over):
    desk("limits.yaml", LIMITS)
    assert main(["plan", str(saved), "--budget", "1600000", "--weeks", "13", "--limits", "limits.yaml", "--over", over, "--out", "q"]) == 0
    printed = capsys.readouterr().out
    plan, moves, prices = table("q/plan.csv"), table("q/moves.csv"), table("q/prices.csv")
    assert plan.to_numpy().sum() <= 1_600_001 and len(plan) == 13 and plan.index[0] == "2024-01-01"
    tv = [c for c in plan if c in ("tv_brand", "tv_offers", "stream_brand", "stream_sport")]
    assert 1e5 - 1 <= plan[tv].sum().sum() <= 9e5 + 1 and plan.google_brand.sum() <= 4e5 + 1
    assert (moves.change.dropna().abs() <= 0.5 + 1e-6)[:-1].all() and moves.loc["stream_sport", "change"] == pytest.approx(0, abs=1e-9)
    social = plan[[c for c in plan if "meta" in c or "tiktok" in c]].loc["2024-02-01":"2024-03-31"]
    assert social.sum().sum() <= 200_001
    assert {"total", "tv", "google_brand"} <= set(prices.index)
    assert "Limits:" in printed and "social 2024-02 to 2024-03: at most 200,000" in printed
    summary = (tmp_path / "q" / "summary.txt").read_text()
    assert summary.strip() in printed and "No plan under these limits is better by more than" in summary
    assert table("q/table_channel.csv").loc["total", "spend"] == pytest.approx(plan.to_numpy().sum())
    assert all((tmp_path / "q" / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in ("moves", "uplift"))


def test_a_plan_that_was_written_can_be_given_back(saved, desk, capsys):
    assert main(["plan", str(saved), "--weeks", "8", "--out", "first"]) == 0
    assert main(["plan", str(saved / "fit.nc"), "--spend", "first/plan.csv", "--out", "second"]) == 0
    first, second = table("first/moves.csv"), table("second/moves.csv")
    assert np.allclose(second.before, first.spend, rtol=1e-6) and np.allclose(second.spend, first.spend, rtol=1e-3)
    assert "split as in the plan it started from" not in capsys.readouterr().out  # the money is the same


def test_months_and_channels_are_a_plan(saved, desk, capsys):
    desk("months.csv", "month,tv,search,social\n2024-01,200000,100000,90000\n2024-02,200000,100000,90000\n")
    assert main(["plan", str(saved), "--spend", "months.csv", "--budget", "700000", "--out", "q"]) == 0
    printed = capsys.readouterr().out
    assert "Note: the money of tv is split over its lines as in the last year." in printed
    assert "Over the same money split as in the plan it started from" in printed
    assert table("q/moves.csv").loc["total", "before"] == pytest.approx(780_000)


def test_nothing_is_required_but_results_and_a_folder(saved, desk):
    assert main(["plan", str(saved), "--out", "q"]) == 0
    assert len(table("q/plan.csv")) == 52


@pytest.mark.parametrize(("words", "parts"), [
    (["--budget", "1,200,000"], ["--budget is '1,200,000'", "1200000"]),
    (["--budget", "-5"], ["above zero"]), (["--budget", "0"], ["above zero"]), (["--budget", "nan"], ["above zero"]),
    (["--budget", "1_000"], ["'1_000'"]), (["--budget", "inf"], ["'inf'"]),
    (["--weeks", "0"], ["--weeks is '0'", "whole number"]), (["--weeks", "2.5"], ["'2.5'"]),
    (["--weeks", "4", "--periods", "4"], ["leave one out"]),
    (["--aim", "most"], ["--aim='most'", "'mean'"]), (["--over", "period"], ["Did you mean 'periods'?"]),
    (["--aim", "cautios=0.1"], ["--aim='cautios'", "Did you mean 'cautious'?"]),
    (["--aim", "mean=0.1"], ["mean takes no number", "--aim mean"]), (["--aim", "mean="], ["takes no number"]),
    (["--aim", "roi"], ["--aim roi needs its number: --aim roi=3"]), (["--aim", "reach"], ["--aim reach=5000000"]),
    (["--aim", "roi="], ["--aim roi is ''", "above zero"]), (["--aim", "roi=-1"], ["'-1'", "above zero"]),
    (["--aim", "marginal_roi=inf"], ["'inf'"]), (["--aim", "reach=5,000,000"], ["'5,000,000'", "like 5000000"]),
    (["--aim", "cautious=0"], ["--aim cautious is '0'", "0.1"]), (["--aim", "cautious=10"], ["'10'", "worst tenth"]),
    (["--aim", "cautious=nan"], ["'nan'", "at most 1"]), (["--aim", "roi=1000"], ["no plan under these limits has a ROI of 1000"]),
    (["--aim", "reach=1e15"], ["the goal of 1e+15"]),
    (["--limits", "gone.yaml"], ["Cannot read the limits file 'gone.yaml'"]),
    (["--spend", "gone.csv"], ["Cannot read the data file 'gone.csv'"]),
])
def test_odd_words(saved, desk, capsys, words, parts):
    refused(capsys, saved, "--out", "q", *words, parts=parts)


@pytest.mark.parametrize(("text", "parts"), [
    ("chnage: 0.3", ["line 1", "unknown key 'chnage'", "Did you mean 'change'?"]),
    ("nodes: {tv: [1, 2]", ["limits.yaml, line 1"]),
    ("nodes:\n  tvv: [1, 2]", ["limits.yaml, line 2", "'tvv'", "'tv'"]),
    ("seen: true\nnodes:\n  tv: [5, 2]", ["limits.yaml, line 3", "tv clash"]),
    ("nodes:\n  tv: [-5, 2]", ["limits.yaml, line 2", "zero or more"]),
    ("nodes:\n  tv: text", ["limits.yaml, line 2", "[least, most]"]),
    ("change: -0.3", ["limits.yaml", "0.3 for 30%"]),
    ("change:\n  tvv: 0.3", ["line 2", "tvv"]),
    ("fixed:\n  - tvv", ["line 2", "tvv"]),
    ("fixed: tv", ["line 1, fixed: a list"]),
    ("periods: week", ["limits.yaml", "month"]),
    ("periods:\n  2031-01: [null, 5]", ["line 2", "2031-01"]),
    ("windows:\n  - {node: tv, start: 2024-01, end: 2024-02}\n  - {node: tvv, start: 0, end: 2, upper: 1}", ["line 3", "tvv"]),
    ("windows:\n  - {node: tv, start: 2024-01}", ["window 1: the key 'end' is missing"]),
    ("windows: [5]", ["window 1", "`key: value`"]),
    ("nodes:\n  tv: [900000, null]\n  search: [900000, null]\ntotal: 1000000", ["lines 2, 3 and 4", "clash", "800,000"]),
    ("total: 5\n", ["twice", "--budget 1,000,000"]),
    ("price: {tv_brand: 0}", ["tv_brand", "more than zero"]),
    ("value: -1", ["value is -1"]), ("after: never", ["after='never'", "as_before"]),
    ("nodes: {tv: 0x10}", ["line 1", "plain number"]), ("- tv", ["`key: value`"]),
])
def test_odd_pages(saved, desk, capsys, text, parts):
    desk("limits.yaml", text)
    budget = ["--budget", "1000000"] if "twice" in parts else []
    refused(capsys, saved, "--weeks", "13", "--limits", "limits.yaml", "--out", "q", *budget, parts=parts)


@pytest.mark.parametrize(("text", "parts"), [
    ("", ["no rows"]), ("week\n2024-01-01\n", ["one column"]),
    ("week,tv\n2024-01-01,5\n2024-01-08,n/a\n", ["line 3", "'tv' holds 'n/a'"]),
    ("week,tv\n2024-01-01,\n", ["line 2", "'tv' is blank"]),
    ("week,tv\n01/01/2024,5\n", ["line 2", "'week' holds '01/01/2024'", "2025-03-31"]),
    ("week,tvv\n2024-01-01,5\n", ["plan.csv", "'tvv'", "'tv'"]),
    ("week,tv\n2024-01-01,-5\n", ["plan.csv", "-5"]),
    ("week,tv\n2023-01-02,5\n", ["plan.csv", "2024-01-01"]),
    ("week,tv,tv_brand\n2024-01-01,5,5\n", ["plan.csv", "part of both"]),
    ("week;tv\n2024-01-01;5\n", ["';'"]),
])
def test_odd_tables(saved, desk, capsys, text, parts):
    desk("plan.csv", text)
    refused(capsys, saved, "--spend", "plan.csv", "--out", "q", parts=parts)


def test_odd_results(saved, desk, tmp_path, capsys):
    refused(capsys, "gone", "--out", "q", parts=["'gone'"])
    refused(capsys, tmp_path, "--out", "q", parts=["neither fit.nc nor ensemble.json"])
    desk("fit.nc", "nothing of the kind")
    refused(capsys, tmp_path, "--out", "q", parts=["fit.nc"])
    refused(capsys, saved, "--out", str(saved), parts=["not empty", "--overwrite"])


def test_an_option_that_does_not_exist_ends_with_2(saved, desk):
    with pytest.raises(SystemExit) as left:
        main(["plan", str(saved), "--bugdet", "5", "--out", "q"])
    assert left.value.code == 2


def test_from_a_terminal(saved, tmp_path):
    words = [sys.executable, "-c", "import sys; from precision.cli import main; sys.exit(main())", "plan", str(saved)]
    run = subprocess.run([*words, "--weeks", "4", "--out", "q"], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0 and "Results: q (plan.csv, moves.csv" in run.stdout, run.stderr
    run = subprocess.run([*words, "--budget", "much", "--out", "p"], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 2 and run.stderr.strip().startswith("precision: --budget") and not (tmp_path / "p").exists()


def test_an_ensemble_is_planned_with(saved, desk, tmp_path):
    from precision.ensemble import ensemble

    sim = simulate(periods=104, seed=3)
    metrics = {name: sim.metrics[name] for name in ("impressions", "clicks")}
    result = ensemble(hierarchy=sim.hierarchy, y=sim.y, U_metrics=metrics, Z_controls=sim.Z, spend=sim.spend, draws=60,
                      chains=2, warmup=150, progress=False)
    result.save(tmp_path / "both")
    assert load_results(tmp_path / "both").weights.keys() == result.weights.keys()
    assert main(["plan", "both", "--weeks", "6", "--out", "q"]) == 0


def test_limits_mean_the_same_on_a_page_and_in_python(tmp_path):
    (tmp_path / "l.yaml").write_text(LIMITS)
    limits = limits_of(read_limits(tmp_path / "l.yaml"), 2e6)
    assert isinstance(limits, Limits) and limits.total == 2e6 and limits.nodes["google_brand"] == [None, 400_000]
    assert limits.windows[0].node == "social" and limits.windows[0].upper == 200_000


def test_every_limit_has_a_key():
    from dataclasses import fields

    assert {f.name for f in fields(Limits)} <= {f.name for f in fields(LimitsFile)}


def test_limits_in_words(saved):
    plan = load_results(saved).plan(4)
    said = limits_in_words(Limits(total=(1, 2), change={"tv": (-0.2, None)}, minimum={"tv": 5}, seen=False, periods={0: (None, 3)}), plan)
    for part in ("total: 1 to 2", "tv -20% to any", "tv 5", "0 at most 3", "beyond"):
        assert part in said


@pytest.mark.parametrize(("text", "aim"), [
    ("mean", Mean()), ("cautious", Cautious()), ("cautious=0.05", Cautious(0.05)), ("cautious=1", Cautious(1)), ("roi=2.5", TargetROI(2.5)),
    ("marginal_roi=1", TargetMarginalROI(1)), ("reach=5e6", Reach(5e6)),
])
def test_an_aim_has_a_word(text, aim):
    assert aim_of(text) == aim


@pytest.mark.parametrize(("text", "aim", "budget"), [
    ("cautious=0.2", Cautious(0.2), None), ("roi=3", TargetROI(3), 3e6), ("marginal_roi=2", TargetMarginalROI(2), 3e6),
    ("reach=4000000", Reach(4e6), 3e6),
])
def test_an_aim_is_that_of_python(saved, desk, text, aim, budget):
    words = [] if budget is None else ["--budget", f"{budget:.0f}"]
    assert main(["plan", str(saved), "--weeks", "13", "--aim", text, "--out", "q", *words]) == 0
    fit = load_results(saved)
    best = fit.optimize(fit.plan(13), Limits(total=budget), aim)
    assert np.allclose(table("q/plan.csv"), best.plan.spend, rtol=1e-6, atol=1e-3)


def test_money_that_an_aim_leaves_is_said(saved, desk, capsys):
    assert main(["plan", str(saved), "--weeks", "13", "--aim", "roi=3", "--budget", "9000000", "--out", "q"]) == 0
    printed = capsys.readouterr().out
    assert "its aim asks for no more" in printed and "ROI is 3, 3 or more was asked for." in printed
    assert main(["plan", str(saved), "--weeks", "13", "--budget", "90000000", "--out", "p"]) == 0
    assert "of the money unspent" in capsys.readouterr().out


def test_numbers():
    weeks = pd.date_range("2024-01-01", periods=9, freq="7D")
    assert periods_of(None, None, weeks) is None and periods_of("4", None, weeks) == 4
    assert periods_of(None, "4", pd.RangeIndex(9)) == 4
    with pytest.raises(PrecisionError, match="--periods"):
        periods_of("4", None, pd.RangeIndex(9))
    assert amount_of("12.5", "--budget") == 12.5


def test_complaints_that_are_not_of_the_page_stay_as_they_are():
    with pytest.raises(PrecisionError, match="^draws are few$"), in_limits_file(LimitsFile()):
        raise PrecisionError("draws are few")
