"""The command line: files are read strictly, slips are one clear sentence, and a run leaves what it promises."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from precision.cli import DEMO_FILES, beside_truth, file_names, main, results_folder, save_results
from precision.controls import fourier
from precision.files import (
    ModelFile, Options, Sampling, read_data, read_model, read_table, write_example)
from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy, rows_of_nodes
from precision.simulate import simulate

MODEL = """\
outcome: sales
date: week
hierarchy:
  tv:
    linear: [tv_brand, tv_offers]
  posters: [stations]
controls: [price]
spend: {tv_brand: tv_brand_eur, tv_offers: tv_offers_eur}
"""
DATA = "week,sales,tv_brand,tv_offers,stations,price,tv_brand_eur,tv_offers_eur,comment\n" + "".join(
    f"{day:%Y-%m-%d},{1000 + 7 * i},{i},{10 - i},3.5,{9 + i % 3},{2 * i},{20 - 2 * i},n/a\n"
    for i, day in enumerate(pd.date_range("2024-01-01", periods=10, freq="7D")))


@pytest.fixture
def desk(tmp_path):
    "A folder with a data file and a model file; `desk(file, text)` writes one anew."
    def write(name, text):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / name

    write("model.yaml", MODEL), write("data.csv", DATA)
    write.folder = tmp_path
    return write


def test_files_become_frames(desk):
    spec = read_model(desk.folder / "model.yaml")
    frames = read_data(desk.folder / "data.csv", spec)
    assert frames["hierarchy"] == build_hierarchy({"tv": {"linear": ["tv_brand", "tv_offers"]}, "posters": ["stations"]})
    assert list(frames["U"]) == ["tv_brand", "tv_offers", "stations"] and list(frames["Z"]) == ["price"]
    assert list(frames["spend"]) == ["tv_brand", "tv_offers"] and frames["spend"]["tv_brand"].tolist() == [2.0 * i for i in range(10)]
    assert frames["y"].tolist() == [1000.0 + 7 * i for i in range(10)]
    assert all(frames[k].index.equals(pd.date_range("2024-01-01", periods=10, freq="7D")) for k in ("y", "U", "Z", "spend"))


def test_only_three_keys_are_required(desk):
    spec = read_model(desk("small.yaml", "outcome: sales\ndate: week\nhierarchy: {posters: [stations]}\ncontrols:\n"))
    assert spec == ModelFile("sales", "week", {"posters": ["stations"]}) and spec.options == Options() and spec.sampling == Sampling()
    assert read_data(desk.folder / "data.csv", spec)["spend"] is None


def test_levels_qualified_names_and_other_ways_to_write_dates(desk):
    spec = read_model(desk("q.yaml", "outcome: sales\ndate: week\nlevels: [line, channel]\nqualify: true\ndate_format: '%d.%m.%Y'\n"
                           "hierarchy: {tv: [tv_brand], posters: [stations]}\nspend: {tv_brand: tv_brand_eur}\n"))
    dates = pd.date_range("2024-01-01", periods=10, freq="7D")
    text = DATA
    for day in dates:
        text = text.replace(f"{day:%Y-%m-%d}", f"{day:%d.%m.%Y}")
    frames = read_data(desk("d.csv", text), spec)
    assert list(frames["U"]) == ["tv/tv_brand", "posters/stations"] and list(frames["spend"]) == ["tv/tv_brand"]
    assert frames["y"].index.equals(dates)


def test_a_season_may_be_added_to_the_controls(desk):
    frames = read_data(desk.folder / "data.csv", read_model(desk("w.yaml", f"{MODEL}yearly_waves: 2\n")))
    assert list(frames["Z"]) == ["price", "year_sin_1", "year_cos_1", "year_sin_2", "year_cos_2"]
    assert frames["Z"].equals(frames["Z"][["price"]].join(fourier(frames["Z"].index, pairs=2).frame))


def test_bytes_that_other_programs_write(desk):
    spec = read_model(desk.folder / "model.yaml")
    plain = read_data(desk.folder / "data.csv", spec)["U"]
    quoted = "\r\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in DATA.splitlines()) + "\r\n\r\n"
    pd.testing.assert_frame_equal(read_data(desk("bom.csv", b"\xef\xbb\xbf" + quoted.encode()), spec)["U"], plain)


def test_line_numbers_count_lines_of_the_file(desk):
    table = read_table(desk("t.csv", 'a,b\n1,"two\nlines"\n\n3,4\n'))
    assert table.index.tolist() == [3, 5] and table["b"].tolist() == ["two\nlines", "4"]


def swap(text, old, new):
    assert old in text, old
    return text.replace(old, new, 1)


@pytest.mark.parametrize(("old", "new", "parts"), [
    ("outcome:", "outcom:", ["unknown key 'outcom'", "Did you mean 'outcome'?"]),
    ("outcome: sales\n", "", ["'outcome' is missing"]),
    ("outcome: sales", "outcome:", ["'outcome' is missing or empty"]),
    ("outcome: sales", "outcome: 7", ["outcome: text belongs here", "whole number: 7"]),
    ("outcome: sales", "outcome: [sales]", ["outcome: text belongs here", "a list"]),
    ("controls: [price]", "controls: price", ["controls: a list", "'price'"]),
    ("controls: [price]", "controls: [price, price]", ["'price'", "one part"]),
    ("controls: [price]", "controls: [tv_brand]", ["'tv_brand'", "hierarchy and controls"]),
    ("controls: [price]", "controls: [sales]", ["'sales'", "outcome and controls"]),
    ("tv_brand: tv_brand_eur", "tv_brnd: tv_brand_eur", ["spend", "'tv_brnd'", "Did you mean 'tv_brand'?"]),
    ("tv_brand: tv_brand_eur", "tv_brand: sales", ["'sales'", "spend"]),
    ("posters:", "tv:", ["line 6", "'tv' is given twice"]),
    ("[stations]", "[]", ["'posters' is empty"]),
    ("[stations]", "stations", ["'posters' holds 'stations'", "['stations']"]),
    ("[stations]", "[2024]", ["line 6, hierarchy, posters", "a whole number: 2024", "in quotes: '2024'"]),
    ("[tv_brand, tv_offers]", "{tv_brand: [tv_offers]}", ["tv > linear", "lowest level"]),
    ("controls:", "levels: [tactical]\ncontrols:", ["levels"]),
    ("controls:", "options: {saturtion: none}\ncontrols:", ["options", "'saturtion'", "Did you mean 'saturation'?"]),
    ("controls:", "options: {normalize_adstock: 1}\ncontrols:", ["normalize_adstock", "true or false", "1"]),
    ("controls:", "yearly_waves: yes please\ncontrols:", ["yearly_waves", "a whole number"]),
    ("controls:", "yearly_waves: -1\ncontrols:", ["yearly_waves", "-1"]),
    ("controls:", "sampling: {chain: 2}\ncontrols:", ["sampling", "'chain'", "Did you mean 'chains'?"]),
    ("controls:", "sampling: {draws: many}\ncontrols:", ["sampling, draws", "a whole number", "'many'"]),
    ("controls:", "sampling: {draws: true}\ncontrols:", ["sampling, draws", "a whole number"]),
    ("controls:", "sampling: [draws]\ncontrols:", ["sampling", "`key: value`"]),
    ("controls: [price]", "controls: [price", ["line", "model.yaml"]),
])
def test_slips_in_the_model_file(desk, capsys, old, new, parts):
    desk("model.yaml", swap(MODEL, old, new))
    refused(desk, capsys, ["model.yaml", *parts])


@pytest.mark.parametrize(("old", "new", "parts"), [
    ("week,sales", "week,slaes", ["'sales' is not known", "Did you mean 'slaes'?", "data.csv"]),
    (",price,", ",sales,", ["'sales' stands twice"]),
    ("2024-01-15,", "15/01/2024,", ["line 4", "'week'", "'15/01/2024'", "2024-01-31", "date_format"]),
    ("2024-01-15,", ",", ["line 4", "'week' is blank"]),
    ("2024-01-15,", "2024-01-08,", ["line 4", "2024-01-08 repeats"]),
    ("2024-01-15,", "2024-01-01,", ["line 4", "2024-01-01 comes after 2024-01-08"]),
    (",1014,", ",na,", ["line 4", "'sales'", "'na'", "number"]),
    (",1014,", ",,", ["line 4", "'sales' is blank"]),
    (",1014,", ",nan,", ["line 4", "'nan'"]),
    (",1014,", ",inf,", ["line 4", "'inf'"]),
    (",1014,", ",1_014,", ["line 4", "'1_014'"]),
    (",1014,", ',"1,014",', ["line 4", "'1,014'"]),
    (",1014,", ",1014,1,", ["line 4", "10 cells", "9 columns"]),
    (",1014,", ',"1014,', ["line"]),
])
def test_slips_in_the_data_file(desk, capsys, old, new, parts):
    desk("data.csv", swap(DATA, old, new))
    refused(desk, capsys, ["data.csv", *parts])


@pytest.mark.parametrize(("text", "parts"), [
    ("", ["data.csv", "no rows"]),
    (DATA.splitlines()[0], ["no rows"]),
    (DATA.replace(",", ";"), ["';'", "commas"]),
    (b"week,sales\n2024-01-01,\xff\n", ["UTF-8"]),
    (DATA.replace(",3.5,", ",na,"), ["line 2", "'stations'", "9 more"]),
])
def test_whole_files_that_are_no_tables(desk, capsys, text, parts):
    desk("data.csv", text)
    refused(desk, capsys, parts)


@pytest.mark.parametrize(("text", "parts"), [("", ["empty"]), ("- a\n- b\n", ["`key: value`"]), ("a: &x {b: *y}", ["model.yaml"])])
def test_whole_files_that_are_no_models(desk, capsys, text, parts):
    desk("model.yaml", text)
    refused(desk, capsys, parts)


def refused(desk, capsys, parts, out="out"):
    "`precision fit` leaves with 2 and one message that holds every part, and has written nothing."
    words = ["fit", str(desk.folder / "data.csv"), "--model", str(desk.folder / "model.yaml"), "--out", str(desk.folder / out)]
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("precision: ") and printed.err.count("\n") == 1 and "Traceback" not in printed.err
    assert not printed.out or printed.out.startswith("Read data.csv") and out != "out"  # what was understood, when the model is refused
    for part in parts:
        assert part in printed.err, f"{part!r} is not in: {printed.err}"
    assert out != "out" or not (desk.folder / "out").exists()


def test_missing_files(desk, capsys):
    (desk.folder / "data.csv").unlink()
    refused(desk, capsys, ["data.csv", "No such file"])
    (desk.folder / "model.yaml").unlink()
    refused(desk, capsys, ["model.yaml", "No such file"])


def test_a_folder_with_something_in_it_is_left_alone(desk, capsys):
    (desk.folder / "old").mkdir()
    (desk.folder / "old" / "fit.nc").write_text("precious")
    refused(desk, capsys, ["old", "not empty", "'fit.nc'", "--overwrite"], out="old")
    refused(desk, capsys, ["data.csv' is a file", "folder for results"], out="data.csv")
    refused(desk, capsys, ["data.csv", "folder for results"], out="data.csv/deeper")
    assert (desk.folder / "old" / "fit.nc").read_text() == "precious"
    assert results_folder(desk.folder / "old", overwrite=True).is_dir()
    assert results_folder(desk.folder / "old", overwrite=False, ours=["fit.nc"]).is_dir()


def test_what_stands_in_the_place_of_a_result_is_found_before_the_work(tmp_path):
    (tmp_path / "summary.csv").mkdir()
    with pytest.raises(PrecisionError, match="'summary.csv' in the folder .* cannot be replaced"):
        results_folder(tmp_path, overwrite=True)


@pytest.mark.parametrize("odd", ["a/b", "..", "a\\b", "CON", "a:b?", "tab\there", "\N{BALLOON}", "x" * 300, "Märkte"])
def test_levels_become_names_that_files_can_have(tmp_path, odd):
    names = file_names(["a_b", odd, "A_B"])
    assert len({name.casefold() for name in names.values()}) == 3 and names["a_b"] == "a_b"
    for name in names.values():
        path = tmp_path / f"totals_{name}.csv"
        path.write_text("")
        assert path.parent == tmp_path and not set('\\/:*?"<>|') & set(path.name) and len(path.name) < 100


def test_our_own_bugs_keep_their_traceback(desk, monkeypatch):
    monkeypatch.setattr("precision.cli.read_data", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["fit", "data.csv", "--model", str(desk.folder / "model.yaml"), "--out", "out"])


@pytest.mark.parametrize("words", [[], ["fit"], ["fit", "data.csv"], ["demo", "--seed", "x"], ["fitt"]])
def test_bad_words_leave_with_two(words, capsys):
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2 and "usage: precision" in capsys.readouterr().err


def test_the_example_files_describe_the_simulation(tmp_path):
    for hierarchy in (None, build_hierarchy({"tv": {"linear": ["brand"]}, "posters": ["stations", "roadside"]})):
        sim = simulate(hierarchy, periods=30)
        data, model = write_example(sim, tmp_path)
        frames = read_data(data, read_model(model))
        assert frames["hierarchy"] == sim.hierarchy
        np.testing.assert_allclose(frames["y"], sim.y, atol=1e-4)
        np.testing.assert_allclose(frames["spend"], sim.spend)
        np.testing.assert_allclose(frames["Z"], sim.Z, atol=1e-4)


def test_truth_beside_estimates():
    table = pd.DataFrame({"mean": [1.0, 2.0], "lower": [0.5, 1.5], "upper": [1.5, 2.5]}, index=["a", "b"])
    beside = beside_truth(table, pd.Series({"b": 3.0, "a": 1.2}))
    assert beside["truth"].tolist() == [1.2, 3.0] and beside["inside"].tolist() == ["yes", "no"]


def test_a_row_without_truth_is_left_out():
    table = pd.DataFrame({"mean": [1.0, 2.0], "lower": [0.5, 1.5], "upper": [1.5, 2.5]}, index=["a", "total"])
    assert list(beside_truth(table, pd.Series({"a": 1.2})).index) == ["a"]


def test_nothing_heavy_is_loaded_before_it_is_needed():
    program = ("import sys; from precision.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
               "print(*[m for m in ('tensorflow', 'arviz', 'matplotlib', 'scipy') if m in sys.modules], file=sys.stderr)")
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "demo" in result.stdout and not result.stderr.strip()


def test_the_keys_are_the_arguments_of_the_model():
    from precision.model import MMM

    assert {f.name for f in dataclasses.fields(MMM)} - {"hierarchy", "priors"} == {f.name for f in dataclasses.fields(Options)}


def test_bad_options_and_priors_are_refused_by_the_model(desk, capsys):
    for line, parts in (("options: {saturation: michaelis}", ["'michaelis'", "'michaelis_menten'"]),
                        ("priors: {decay_center: 1}", ["'decay_center'", "Did you mean 'decay_centre'?"]),
                        ("sampling: {draws: 0}", ["draws"])):
        desk("model.yaml", f"{MODEL}{line}\n")
        refused(desk, capsys, parts, out=f"out {parts[0]}")


def test_a_fit_from_files_to_files(tmp_path, capsys):
    from precision import Fit

    data, model = write_example(simulate(periods=60, seed=3), tmp_path)
    with open(model, "a") as file:
        file.write("sampling: {chains: 2, warmup: 100, draws: 60, seed: 1}\n")
    words = ["fit", str(data), "--model", str(model), "--quiet", "--checkpoint", str(tmp_path / "kept"), "--out"]
    assert main([*words, str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    assert main([*words, str(tmp_path / "again")]) == 0 and kept == {path: path.stat().st_mtime_ns for path in kept}
    capsys.readouterr()
    first, again = (pd.read_csv(tmp_path / out / "decay_rates.csv") for out in ("out", "again"))
    pd.testing.assert_frame_equal(first, again)
    assert printed.startswith("Read data.csv: 60 weeks, 2022-01-03 to 2023-02-20, dated on Mondays; outcome sales; 10 tacticals in 3 channels; spend of 10; 4 controls.")
    assert "social" in printed and "Diagnosis:" in printed and "Seconds:" not in printed
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"fit.nc", "decay_rates.csv", "summary.csv", "totals_channel.csv", "contributions_tactical.csv", "actual_vs_fitted.png"} <= files
    assert all(name in printed for name in files) and all((tmp_path / "out" / name).stat().st_size > 100 for name in files)
    totals = pd.read_csv(tmp_path / "out" / "totals_channel.csv", index_col=0)
    weekly = pd.read_csv(tmp_path / "out" / "contributions_channel.csv")
    nodes = rows_of_nodes(totals)
    np.testing.assert_allclose(weekly.groupby("node", sort=False)["mean"].sum(), nodes["contribution"], rtol=1e-6)
    fit = Fit.load(tmp_path / "out" / "fit.nc")
    fitted, check = pd.read_csv(tmp_path / "out" / "fitted.csv", parse_dates=["time"]), fit.check()
    pd.testing.assert_frame_equal(fitted, fit.fitted(), check_dtype=False, rtol=1e-6)
    kept = pd.read_csv(tmp_path / "out" / "check.csv", index_col="check")
    assert kept["verdict"].to_dict() == {finding.check: finding.verdict for finding in check.findings}
    assert f"({len(check.findings)} checks: " in printed and all(f"{one.verdict:7}  {one.check}: " in printed for one in check.of("problem") + check.of("caution"))
    taken_away(fit, tmp_path)
    assert fit.hierarchy == read_model(model).tree() and list(fit.decay_rates().index) == fit.hierarchy.names["tactical"]


def taken_away(fit, folder):
    "A table that cannot be written is named, and the fit is kept."
    (folder / "stuck" / "fitted.csv").mkdir(parents=True)
    with pytest.raises(PrecisionError, match=r"Cannot write '.*fitted.csv'.* saved in '.*fit.nc'"):
        save_results(fit, folder / "stuck", fit.check())
    assert (folder / "stuck" / "fit.nc").stat().st_size > 1000


ON_SCREEN = """
import sys
from precision import cli, hierarchy
def stopped(*_):
    raise hierarchy.PrecisionError("that will do, \\N{BALLOON}")
cli.fit_model = stopped
raise SystemExit(cli.main(["demo", "--out", sys.argv[1]]))
"""


@pytest.mark.parametrize(("encoding", "line"), [("cp1252", "|-- linear"), ("ascii", "|-- linear"), ("cp437", "├── linear"), ("utf-8", "├── linear")])
def test_a_tree_is_drawn_on_every_screen(tmp_path, encoding, line):
    shown = subprocess.run([sys.executable, "-c", ON_SCREEN, str(tmp_path / "demo")], capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert shown.returncode == 2 and line in shown.stdout.decode(encoding), shown.stderr
    assert shown.stderr.decode(encoding).strip() == "precision: that will do, " + ("\N{BALLOON}" if encoding == "utf-8" else r"\U0001f388")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_names_that_a_screen_cannot_show_stop_no_fit(tmp_path, encoding):
    tree = build_hierarchy({"tv \N{BALLOON}": {"linear": ["żółw"]}, "posters": ["stations"]}, levels=["line", "plat:form", "CON?"])
    data, model = write_example(simulate(tree, periods=40, seed=3), tmp_path)
    with open(model, "a", encoding="utf-8") as file:
        file.write("levels: [line, 'plat:form', 'CON?']\nsampling: {chains: 1, warmup: 60, draws: 60, seed: 1}\n")
    program = "from precision.cli import main; raise SystemExit(main())"
    words = ["fit", str(data), "--model", str(model), "--out", str(tmp_path / "out"), "--quiet"]
    shown = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert shown.returncode == 0, shown.stderr
    assert r"tv \U0001f388" in shown.stdout.decode(encoding) and b"Glyph" not in shown.stderr
    totals = pd.read_csv(tmp_path / "out" / "totals_CON_.csv", index_col=0)
    assert list(totals.index)[:2] == ["tv \N{BALLOON}", "posters"] and (tmp_path / "out" / "roi_plat_form.csv").is_file()


def test_the_demo_leaves_pictures_and_files_to_go_on_with(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "truth" in printed and "google_generic" in printed
    assert {path.name for path in tmp_path.iterdir()} == set(DEMO_FILES)
    assert yaml.safe_load((tmp_path / "model.yaml").read_text())["outcome"] == "sales"
    results_folder(tmp_path, overwrite=False, ours=DEMO_FILES)  # a second run may replace its own files


TALKATIVE = """
import sys
from precision import cli
cli.fit_command = lambda args: [print("a line of results") for _ in range(100_000)]
sys.exit(cli.main(["fit", "data.csv", "--model", "model.yaml", "--out", "out"]))
"""


@pytest.mark.skipif(os.name != "posix", reason="pipes break in another way there")
@pytest.mark.parametrize("lines", ["100_000", "1"])
def test_a_reader_who_has_seen_enough_ends_the_program_quietly(lines):
    program = subprocess.Popen([sys.executable, "-c", TALKATIVE.replace("100_000", lines)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    program.stdout.close()  # as `head` does
    assert program.stderr.read() == b"" and program.wait() == 141
