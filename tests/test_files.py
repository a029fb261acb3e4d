"""Odd files: what is read is right, and what cannot be read is told with its file, line and column, and a remedy that works."""

import bz2
import gzip
import io
import lzma
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from precision.cli import main
from precision.files import ModelFile, read_data, read_model, read_table, understood
from precision.errors import PrecisionError
from precision.periods import in_words

WEEKS = pd.date_range("2024-01-01", periods=12, freq="7D")
COLUMNS = {
    "week": [f"{day:%Y-%m-%d}" for day in WEEKS],
    "sales": [f"{1000 + 7 * i}" for i in range(12)],
    "tv": [f"{i % 5}" for i in range(12)],
    "stations": [f"{3.5 + i % 4}" for i in range(12)],
    "price": [f"{9 + i % 3}.25" for i in range(12)],
    "tv_eur": [f"{20 * (i % 5)}" for i in range(12)],
    "comment": ["n/a"] * 12,
}
MODEL = """\
outcome: sales
date: week
hierarchy:
  tv: {linear: [tv]}
  posters: [stations]
controls: [price]
spend: {tv: tv_eur}
"""


def csv_of(columns, separator=","):
    rows = [list(columns), *zip(*columns.values())]
    return "\n".join(separator.join(row) for row in rows) + "\n"


def quoted(columns):
    return {f'"{name}"': [f'"{cell}"' for cell in cells] for name, cells in columns.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("odd")


def read(folder, data=None, model=MODEL):
    "The frames that two texts (or bytes) make."
    for name, text in (("data.csv", csv_of(COLUMNS) if data is None else data), ("model.yaml", model)):
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_data(folder / "data.csv", read_model(folder / "model.yaml"))


def refusal(folder, *parts, data=None, model=MODEL):
    "The one sentence with which two texts are refused; it holds every part."
    with pytest.raises(PrecisionError) as raised:
        read(folder, data, model)
    for part in parts:
        assert part in str(raised.value), f"{part!r} is not in: {raised.value}"
    return str(raised.value)


def same(frames, other):
    assert frames["hierarchy"] == other["hierarchy"]
    for name in ("y", "U", "Z", "spend"):
        pd.testing.assert_index_equal(frames[name].index, other[name].index)
        np.testing.assert_allclose(frames[name], other[name], rtol=1e-12)


# numbers

THOUSANDS = ["1.234", "12.500", "987.000", "0", "1.001", "2.750", "0", "8.125", "1.375", "999.999", "4.500", "3.250"]


def test_numbers_with_three_digits_behind_every_point_are_asked_for(folder):
    data = csv_of(COLUMNS | {"tv_eur": THOUSANDS})
    told = refusal(folder, "data.csv, line 2", "'tv_eur'", "'1.234'", "1234, or 1.234", data=data)
    large, small = re.findall(r'decimal: "[.,]"', told)
    read_as = read(folder, data, f"{MODEL}{small}\n")["spend"]["tv"].tolist()
    assert read_as == [float(cell) for cell in THOUSANDS]
    whole = COLUMNS | {"tv_eur": THOUSANDS, "stations": ["3,5"] * 11 + ["4"], "price": [f"9,{i}" for i in range(12)]}
    frames = read(folder, csv_of(quoted(whole)), f"{MODEL}{large}\n")
    assert frames["spend"]["tv"].tolist() == [float(cell.replace(".", "")) for cell in THOUSANDS]
    assert frames["U"]["stations"].tolist() == [3.5] * 11 + [4.0] and frames["Z"]["price"].tolist()[:2] == [9.0, 9.1]
    plain = read(folder, csv_of(COLUMNS | {"tv_eur": [cell.replace(".", "") for cell in THOUSANDS]}))
    assert plain["spend"]["tv"].tolist() == frames["spend"]["tv"].tolist()


@pytest.mark.parametrize("mixed", ["0.512", "12.5", "1234.500", "12.50", "1.2e3", "0.5"])
def test_one_number_that_decides_is_enough(folder, mixed):
    cells = [*THOUSANDS[:-1], mixed]
    assert read(folder, csv_of(COLUMNS | {"tv_eur": cells}))["spend"]["tv"].tolist() == [float(cell) for cell in cells]


@pytest.mark.parametrize("cells", [
    ["987", "1.234", "12.500", *["0"] * 9], ["1000", "1.014", "1021", *["7"] * 9], ["0.000", "1.234", "-2.000", *["3.000"] * 9],
])
def test_numbers_without_a_point_do_not_decide(folder, cells):
    refusal(folder, "'tv_eur'", "1234" if "1.234" in cells else "1014", data=csv_of(COLUMNS | {"tv_eur": cells}))


def test_few_numbers_say_nothing(folder):
    assert read(folder, csv_of(COLUMNS | {"tv_eur": ["0"] * 10 + ["1.234", "2.500"]}))["spend"]["tv"].sum() == 3.734


@pytest.mark.parametrize(("decimal", "cell", "number"), [
    (".", "1,234", 1234.0), (".", "1,234.5", 1234.5), (".", "1.234", 1.234), (".", "12,5", None), (".", "1234.5", 1234.5), (".", ".5", 0.5),
    (",", "1.234", 1234.0), (",", "1.234,5", 1234.5), (",", "1,234", 1.234), (",", "12.5", None), (",", "1234,5", 1234.5), (",", "-1.234.567,25", -1234567.25),
    (",", "0.500", None), (",", "1.2345", None), (".", "1,23,456", None), (".", "1_0", None), (None, "1e3", 1000.0), (None, "1e-05", 1e-05),
    (None, " 7 ", 7.0), (None, "+7", 7.0), (None, "TRUE", 1.0), (None, "false", 0.0), (None, "True", 1.0),
])
def test_what_a_cell_is_read_as(folder, decimal, cell, number):
    whole = {"stations": ["3"] * 11 + ["4"], "price": list("123456789123")}
    data = csv_of(quoted(COLUMNS | whole | {"sales": [*COLUMNS["sales"][:2], cell, *COLUMNS["sales"][3:]]}))
    model = MODEL + (f'decimal: "{decimal}"\n' if decimal else "")
    if number is None:
        told = "A number belongs there" if cell == "1_0" else f'The model file says decimal: "{decimal}"'
        refusal(folder, "data.csv, line 4", "'sales'", repr(cell), told, data=data, model=model)
    else:
        assert read(folder, data, model)["y"].iloc[2] == number


def test_truth_values_are_one_and_zero_in_every_part(folder):
    told = ["TRUE", "FALSE", "true", "False"] * 3
    flags = pd.Series([1.0, 0.0, 1.0, 0.0] * 3, index=WEEKS)
    frames = read(folder, csv_of(COLUMNS | {"price": told, "stations": told, "tv_eur": told, "tv": told}))
    for found in (frames["Z"]["price"], frames["U"]["stations"], frames["U"]["tv"], frames["spend"]["tv"]):
        assert found.tolist() == flags.tolist()


ODD_NUMBERS = [
    ("€ 12", "currency"), ("12 €", "currency"), ("$12", "currency"), ("EUR 12", "currency"), ("12 %", "sign"), ("12%", "sign"),
    ("1 234", "between thousands"),
    ("1\u202f234", "between thousands"), ("1'234", "between thousands"), ("1,234", 'decimal: "."'), ("1,234.50", 'decimal: "."'), ("1.234,50", 'decimal: ","'),
    ("1.234.567", 'decimal: ","'), ("12,5", 'decimal: ","'), ("(12)", "-12"), ("\u221212", "-12"), ("12-", "-12"), ("-", "Write 0"), ("#DIV/0!", "spreadsheet"),
    ("1.23E+05", "rounded"), ("WAHR", "TRUE"), ("n/a", "0 where nothing happened"), ("NAN", "0 where nothing happened"),
    ("1_000", "A number belongs there"), ("0x1F", "A number belongs there"),
]


@pytest.mark.parametrize(("cell", "remedy"), ODD_NUMBERS)
def test_every_odd_number_has_a_remedy_that_fits(folder, cell, remedy):
    refusal(folder, "data.csv, line 4", "'price'", repr(cell), remedy,
            data=csv_of(quoted(COLUMNS | {"price": [*COLUMNS["price"][:2], cell, *COLUMNS["price"][3:]]})))


# dates

@pytest.mark.parametrize(("form", "part"), [
    ("%d.%m", "names no year"), ("%d.%m.%d", "names %d twice"), ("%d.%m.%Q", "knows no %Q"), ("%-d.%m.%Y", "knows no %-"), ("%Y-%m-%d%z", "time zone"),
    ("%d.%Y", "without its month"), ("%Y-%W", "without a day"), ("%G-%V", "without a day"), ("%", "knows no %"), ("%%", "names no year"), ("day", "names no year"),
    ("%Y%M", "minutes"), ("%d.%M.%Y", "minutes"),
    ("%Y-%m-%d %", "knows no %"), ("%G-%m-%d", "cannot be read back"),
])
def test_formats_of_dates_that_cannot_work_are_refused_by_name(folder, form, part):
    refusal(folder, "model.yaml, line 8", repr(form), part, "%d.%m.%Y", model=f"{MODEL}date_format: '{form}'\n")


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%d/%m/%y", "%Y%m%d", "%d %b %Y", "%A, %d %B %Y", "%Y-%j", "%G-W%V-%u", "%m/%d/%Y", "%Y-%m-%d %H:%M"])
def test_formats_that_work(folder, form):
    data = csv_of(quoted(COLUMNS | {"week": [f"{day:{form}}" for day in WEEKS]}))
    same(read(folder, data, f"{MODEL}date_format: '{form}'\n"), read(folder))


def test_dates_that_a_format_can_read_in_two_ways_are_refused(folder):
    data = csv_of(COLUMNS | {"week": [f"{day.year}{day.month}{day.day}" for day in WEEKS]})
    refusal(folder, "data.csv, line 2", "'202411'", data=data, model=f"{MODEL}date_format: '%Y%m%d'\n")


MONTHS, YEARS = pd.date_range("2023-01-01", periods=12, freq="MS"), pd.date_range("2001-01-01", periods=12, freq="YS")


@pytest.mark.parametrize(("dates", "written"), [(MONTHS, "%Y%m"), (MONTHS, "%Y-%m"), (YEARS, "%Y"), (WEEKS, "%d.%m.%Y")])
def test_the_format_that_is_proposed_reads_the_dates(folder, dates, written):
    data = csv_of(COLUMNS | {"week": [f"{day:{written}}" for day in dates]})
    told = refusal(folder, "data.csv, line 2", "'week'", data=data)
    key = re.search(r'date_format: "[^"]*"', told)[0]
    assert read(folder, data, f"{MODEL}{key}\n")["y"].index.equals(dates)


@pytest.mark.parametrize("day_first", [True, False])
def test_slashes_may_mean_either(folder, day_first):
    data = csv_of(COLUMNS | {"week": [f"{day:%d/%m/%Y}" if day_first else f"{day:%m/%d/%Y}" for day in WEEKS]})
    key = re.findall(r'date_format: "[^"]*"', refusal(folder, "line 2", data=data))[0 if day_first else 1]
    assert read(folder, data, f"{MODEL}{key}\n")["y"].index.equals(WEEKS)


@pytest.mark.parametrize(("cell", "remedy"), [
    ("2024-01-15T00:00:00Z", "write the day alone"), ("2024-01-15 00:00:00+01:00", "write the day alone"), ("2024-01-15T00:00+0100", "write the day alone"),
    ("2024-01-15 CET", "write the day alone"), ("45306", "2024-01-15"), ("2024-Q1", "first day"), ("KW 3", "first day"), ("Total", "delete it"),
    ("15. Januar 2024", "2024-01-31"), ("2024-02-30", "2024-01-31"), ("Jan 15", "2024-01-31"), ("2024-1-15", "2024-01-31"), ("", "2024-01-31"),
])
def test_every_odd_date_has_a_remedy_that_fits(folder, cell, remedy):
    refusal(folder, "data.csv, line 4", "'week'", remedy, data=csv_of(COLUMNS | {"week": [*COLUMNS["week"][:2], cell, *COLUMNS["week"][3:]]}))


def test_stamps_with_and_without_a_zone(folder):
    zoned = [f"{day:%Y-%m-%dT%H:%M:%S}Z" for day in WEEKS]
    refusal(folder, "line 2", "11 more", "write the day alone", data=csv_of(COLUMNS | {"week": zoned}))
    refusal(folder, "line 3", "write the day alone", data=csv_of(COLUMNS | {"week": [COLUMNS["week"][0], *zoned[1:]]}))
    same(read(folder, csv_of(COLUMNS | {"week": [cell[:10] for cell in zoned]})), read(folder))


# two rows a date

def two_regions(order):
    both = {name: [cell for cell in cells for _ in "ns"] for name, cells in COLUMNS.items()} | {"region": ["north", "south"] * 12}
    table = pd.DataFrame(both)
    table.insert(0, "note", [f"row {row}" for row in range(24)])
    return table.sort_values(order, kind="stable")


@pytest.mark.parametrize("order", [["week"], ["region"]])
def test_regions_are_added_up_or_one_is_kept(folder, order):
    table = two_regions(order)
    told = refusal(folder, "data.csv, line", "'week'", "add the rows of a date up", "a price is an average", "one 'region'", "'north', 'south'",
                   data=table.to_csv(index=False))
    assert "Sort" not in told
    same(read(folder, table[table["region"] == "north"].to_csv(index=False)), read(folder))
    sums = table.astype({name: float for name in ("sales", "tv", "stations", "price", "tv_eur")}).groupby("week", as_index=False).agg(
        {"sales": "sum", "tv": "sum", "stations": "sum", "price": "mean", "tv_eur": "sum"})
    assert read(folder, sums.to_csv(index=False))["y"].tolist() == [2 * float(cell) for cell in COLUMNS["sales"]]


def test_rows_that_nothing_tells_apart(folder):
    refusal(folder, "line 3", "2024-01-01 repeats line 2", "of one region or brand, or delete a row that was copied",
            data=two_regions(["week"]).drop(columns=["region", "note"]).to_csv(index=False))


def test_what_is_wrong_with_the_data_is_told_with_its_line(folder):
    refusal(folder, "data.csv, line 4: exposure of 'tv' is -3", data=csv_of(COLUMNS | {"tv": [*COLUMNS["tv"][:2], "-3", *COLUMNS["tv"][3:]]}))
    lines = csv_of(COLUMNS).splitlines()
    refusal(folder, "data.csv, lines 4 and 5", "the column 'week'", "has a gap", data="\n".join(lines[:4] + lines[5:]))
    refusal(folder, "data.csv: the control 'price' is constant", data=csv_of(COLUMNS | {"price": ["9"] * 12}))


# files that are no tables

def packed(pack):
    return pack(csv_of(COLUMNS).encode())


def zipped(*names):
    with (held := io.BytesIO()), zipfile.ZipFile(held, "w") as archive:
        for name in names:
            archive.writestr(name, csv_of(COLUMNS))
        archive.close()
        return held.getvalue()


NO_TABLES = {
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), ["Excel workbook (.xlsx)", "CSV UTF-8"]),
    "ods": (zipped("mimetype", "content.xml"), ["OpenDocument", "CSV UTF-8"]),
    "zip": (zipped("data.csv"), ["packed with zip", "Unpack"]),
    "damaged": (b"PK\x03\x04 and nothing else", ["zip archive that is damaged"]),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500, [".xls", "CSV UTF-8"]),
    "parquet": (b"PAR1\x15\x04\x15", ["Parquet", "pandas.read_parquet('data.csv')"]),
    "gzip": (packed(gzip.compress), ["packed with gzip", "Unpack"]),
    "bzip2": (packed(bz2.compress), ["packed with bzip2", "Unpack"]),
    "xz": (packed(lzma.compress), ["packed with xz", "Unpack"]),
    "pdf": (b"%PDF-1.7\n", ["a PDF"]),
    "hdf": (b"\x89HDF\r\n\x1a\n", ["HDF5"]),
    "html": (b"\n<!DOCTYPE html>\n<html><body>Please log in</body></html>", ["web page", "Download the table"]),
    "xml": (b'<?xml version="1.0"?><Workbook/>', ["web page (HTML or XML)"]),
    "utf-16": (packed(lambda text: text.decode().encode("utf-16")), ["UTF-16", "Unicode text", "CSV UTF-8"]),
    "utf-16 without mark": (packed(lambda text: text.decode().encode("utf-16-le")), ["UTF-16"]),
    "windows-1252": (csv_of(COLUMNS).replace("comment", "größe").encode("cp1252"), ["line 1", "Windows-1252", "'ö'", "CSV UTF-8"]),
    "json": (b'[{"week": "2024-01-01"},\n {"week": "2024-01-08"}]', ["JSON", "pandas.read_json"]),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", ["Git LFS", "git lfs pull"]),
    "empty": (b"", ["no rows", "empty"]),
    "blank": (b"\xef\xbb\xbf\n\n", ["no rows", "empty"]),
    "semicolons": (csv_of(COLUMNS, ";").encode(), ["';'", 'separator: ";"']),
    "tabs": (csv_of(COLUMNS, "\t").encode(), ['separator: "\\t"']),
    "title": (("Sales of the shop\n" + csv_of(COLUMNS)).encode(), ["line 2", "7 cells", "title above the header"]),
    "open quote": (csv_of(COLUMNS).replace(",1014,", ',"1014,').encode(), ["line", "a quote that is opened"]),
    "two blank names": (csv_of(COLUMNS).replace("\n", ",,\n").encode(), ["line 1", "2 columns have no name"]),
    "blank row": (csv_of(COLUMNS).encode() + b",,,,,,\n", ["line 14", "Delete the line"]),
}


@pytest.mark.parametrize("kind", NO_TABLES)
def test_a_file_that_is_no_table_leaves_with_two_and_says_what_it_is(folder, capsys, kind):
    data, parts = NO_TABLES[kind]
    refusal(folder, "data.csv", *parts, data=data)
    assert main(["fit", str(folder / "data.csv"), "--model", str(folder / "model.yaml"), "--out", str(folder / "out")]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("precision: data.csv") and printed.err.count("\n") == 1 and not printed.out


def test_a_folder_is_no_file(folder, capsys):
    assert main(["fit", str(folder), "--model", str(folder / "model.yaml"), "--out", str(folder / "out")]) == 2
    assert "is a folder. Name the data file in it" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["xlsx", "gzip", "pdf", "utf-16", "html", "windows-1252"])
def test_a_model_file_is_a_page_of_text(folder, kind):
    refusal(folder, "model.yaml", "precision demo" if kind != "windows-1252" else "line 1", model=NO_TABLES[kind][0])


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_named_in_the_model_file(folder, separator):
    written = '"\\t"' if separator == "\t" else f'"{separator}"'
    same(read(folder, csv_of(COLUMNS, separator), f"{MODEL}separator: {written}\n"), read(folder))
    comma = {name: [cell.replace(".", ",") for cell in cells] for name, cells in COLUMNS.items()}
    same(read(folder, csv_of(comma, separator), f'{MODEL}separator: {written}\ndecimal: ","\n'), read(folder))
    refusal(folder, "separator: \",\"", model=f"{MODEL}separator: {written}\n")


def test_line_numbers_are_those_of_an_editor(folder):
    (folder / "t.csv").write_bytes('a,b\r\n1,"x\u2028y\x85z"\r\n\r\n3,4\r\n'.encode())
    table = read_table(folder / "t.csv")
    assert table.index.tolist() == [2, 4] and table["b"].tolist() == ["x\u2028y\x85z", "4"]


# the model file

@pytest.mark.parametrize("word", ["no", "yes", "on", "Off", "true", "007", "12:30", "2024-01-31", "1.50", "0x1F", "1e3", "~", "2024-13-45"])
def test_names_that_yaml_takes_for_something_else(folder, word):
    data = csv_of(COLUMNS).replace("stations", word)
    told = refusal(folder, "model.yaml, line 5, hierarchy, posters" if word != "~" else "model.yaml", data=data, model=MODEL.replace("[stations]", f"[{word}]"))
    if word != "~":
        remedy = re.search(r"in quotes: ('.*')\.", told)[1]
        assert list(read(folder, data, MODEL.replace("[stations]", f"[{remedy}]"))["U"]) == ["tv", word]
    told = refusal(folder, "model.yaml, line 5, hierarchy: text belongs here", "got nothing" if word == "~" else "got ",
                   model=MODEL.replace("posters:", f"{word}:"))
    remedy = re.search(r"in quotes: ('.*')\.", told)[1]
    assert read(folder, model=MODEL.replace("posters:", f"{remedy}:"))["hierarchy"].names["channel"] == ["tv", word]


@pytest.mark.parametrize(("old", "new", "parts"), [
    ("controls: [price]", "controls: [12:30]", ["line 6, controls", "12:30"]),
    ("tv: tv_eur", "tv: 2024-01-31", ["line 7, spend, tv", "2024-01-31"]),
    ("date: week", "date: 2024-01-31", ["line 2, date", "a date: 2024-01-31"]),
    ("controls:", "options: {pooling: no}\ncontrols:", ["line 6, options, pooling", "true or false: no"]),
    ("controls:", "sampling: {seed: 010}\ncontrols:", ["line 6, sampling, seed", "010 is no plain number"]),
    ("controls:", "sampling: {draws: 1:30}\ncontrols:", ["line 6, sampling, draws", "1:30 is no plain number"]),
    ("controls:", "priors: {half_life: {no: [1, 2]}}\ncontrols:", ["line 6, priors, half_life", "true or false: no"]),
    ("  posters", "\tposters", ["line 5", "a tab stands before posters"]),
    ("controls:", "date_format: %d.%m.%Y\ncontrols:", ["line 6", "'%d.%m.%Y'"]),
    ("controls:", "date_format: %d.%m.%Y  # as in Berlin\ncontrols:", ["line 6", "'%d.%m.%Y'."]),
    ("outcome: sales", "outcome:sales", ["line 1", "behind the colon: outcome: sales"]),
    ("date: week", "date:week", ["line 2", "behind the colon: date: week"]),
    ("controls: [price]", "controls:[price]", ["line 6", "behind the colon: controls: [price]"]),
    ("tv: tv_eur", "tv:tv_eur", ["line 7, spend", "behind the colon: tv: tv_eur"]),
    (MODEL, "outcome:sales\ndate:week\n", ["line 1", "behind the colon: outcome: sales"]),
    ("outcome: sales", "outcome: *sales", ["line 1", "begins with *", "'*sales'"]),
    ("outcome: sales", "outcome: @sales", ["line 1", "begins with @", "'@sales'"]),
    ("outcome: sales", "outcome: !sales", ["line 1", "begins with !", "'!sales'"]),
    ("outcome: sales", "outcome: #sales", ["line 1", "'outcome' is missing or empty"]),
    ("outcome: sales", "outcome: sales: x", ["line 1", "a second colon"]),
    ("[price]", "[price", ["line", "bracket"]),
    ("  posters", "   posters", ["line 5", "indentation"]),
    ("controls:", "decimal: ,\ncontrols:", ["line 6", "begins with ,", "','"]),
    ("controls:", "decimal: x\ncontrols:", ["line 6", "decimal is 'x'", "'.', ','"]),
    ("controls:", "separator: x\ncontrols:", ["line 6", "separator is 'x'"]),
    ("controls:", "---\ncontrols:", ["line 6", "second page"]),
    ("controls: [price]", "controls: [tv]", ["lines 4, 6 and 7", "hierarchy and controls"]),
    ("[stations]", "[tv]", ["line", "with the line qualify: true"]),
    ("controls:", "levels: [tv/line, b, c]\ncontrols:", ["line 6", "'tv/line'"]),
    ("controls:", "options: {x: 1}\ncontrols:", ["line 6, options: unknown key 'x'"]),
    ("controls:", "\x00controls:", ["line 6", "no character"]),
    (MODEL, "[" * 5000, ["brackets stand within brackets"]),
])
def test_slips_in_a_model_file_are_told_with_the_line_where_they_are(folder, old, new, parts):
    assert old in MODEL
    refusal(folder, "model.yaml", *parts, model=MODEL.replace(old, new, 1))


def test_numbers_with_an_exponent_are_numbers(folder):
    (folder / "m.yaml").write_text(f"{MODEL}priors: {{media_share: [1e-2, 3E-1]}}\nsampling: {{target_accept: 9e-1}}\n")
    spec = read_model(folder / "m.yaml")
    assert spec.priors == {"media_share": [0.01, 0.3]} and spec.sampling.target_accept == 0.9


@pytest.mark.parametrize(("line", "part"), [
    ("options: {saturation: michaelis}", "line 8: saturation='michaelis'"), ("priors: {decay_center: 1}", "line 8"),
    ("priors: {half_life: {tvv: [1, 4]}}", "line 8"), ("sampling: {draws: 0}", "line 8: draws"),
    ("sampling: {target_accept: 2}", "line 8: target_accept"),
])
def test_what_the_model_refuses_is_told_with_its_line(folder, capsys, line, part):
    read(folder, model=f"{MODEL}{line}\n")
    words = ["fit", str(folder / "data.csv"), "--model", str(folder / "model.yaml"), "--out", str(folder / f"out {len(line)}"), "--quiet"]
    assert main(words) == 2
    assert f"precision: model.yaml, {part}" in capsys.readouterr().err


# money that would be counted twice

def test_a_spend_column_pays_for_one_line(tmp_path):
    page = tmp_path / "model.yaml"
    page.write_text("outcome: sales\ndate: week\nhierarchy: [tv, web]\nlevels: [line]\nspend: {tv: cost, web: cost}\n")
    with pytest.raises(PrecisionError, match="'cost' for 'tv' and 'web', so its money would be counted twice"):
        read_model(page)


# calendars that lack nothing

@pytest.mark.parametrize(("dates", "remedy", "mended"), [
    (pd.date_range("2020-03-31", periods=12, freq="BQE"), "write the first day of each quarter there", lambda dates: dates.to_period("Q").to_timestamp()),
    (pd.date_range("2023-01-31", periods=12, freq="BME"), "write the first day of each month there", lambda dates: dates.to_period("M").to_timestamp()),
    (pd.Timestamp("2024-01-01") + pd.to_timedelta(np.cumsum([0, *[28, 28, 35] * 3, 28, 28]), "D"), "fit weeks", None),
    (pd.bdate_range("2024-01-01", periods=12), "add up to weeks (outcome", None),
])
def test_advice_is_for_a_file(folder, dates, remedy, mended):
    at = lambda days: csv_of(COLUMNS | {"week": [f"{day:%Y-%m-%d}" for day in days]})
    said = refusal(folder, "data.csv", "the column 'week'", remedy, data=at(dates))
    assert not re.search("index|resample|pandas|astype", said)
    if mended is not None:
        assert len(read(folder, data=at(mended(dates)))["y"]) == 12


# what was understood

@pytest.mark.parametrize(("dates", "words"), [
    (WEEKS, "12 weeks, 2024-01-01 to 2024-03-18, dated on Mondays"),
    (WEEKS + pd.Timedelta("6D"), "12 weeks, 2024-01-07 to 2024-03-24, dated on Sundays"),
    (MONTHS, "12 months, 2023-01-01 to 2023-12-01"),
    (pd.date_range("2023-01-31", periods=12, freq="ME"), "12 months, 2023-01-31 to 2023-12-31"),
    (pd.date_range("2020-01-01", periods=12, freq="QS"), "12 quarters, 2020-01-01 to 2022-10-01"),
    (YEARS, "12 years, 2001-01-01 to 2012-01-01"),
    (pd.date_range("2024-01-01", periods=12), "12 days, 2024-01-01 to 2024-01-12"),
    (pd.date_range("2024-01-01", periods=12, freq="14D"), "12 periods of 14 days, 2024-01-01 to 2024-06-03"),
    (pd.date_range("2024-01-01", periods=12, freq="h"), "12 hours, 2024-01-01 to 2024-01-01 11:00:00"),
    (pd.date_range("2020-01-01", periods=12, freq="2MS"), "12 periods of 2 months, 2020-01-01 to 2021-11-01"),
])
def test_periods_in_words(dates, words):
    assert in_words(dates) == words


def test_what_was_understood_names_every_column(folder):
    frames = read(folder, model=f"{MODEL}yearly_waves: 1\n")
    first, *lines = understood(folder / "data.csv", read_model(folder / "model.yaml"), frames).splitlines()
    assert first == ("Read data.csv: 12 weeks, 2024-01-01 to 2024-03-18, dated on Mondays; outcome sales; 2 tacticals in 2 channels; spend of 1; 1 control; "
                     "1 pair of yearly waves.")
    assert [line.split(":")[0].strip() for line in lines] == ["outcome", "tacticals", "spend", "controls", "not used"]
    assert "12,462 in total" in lines[0] and "tv, stations" in lines[1] and "tv_eur (420.00 in total" in lines[2] and "comment" in lines[4]


def test_a_format_that_is_wrong_and_possible_can_be_seen(folder):
    swapped = read(folder, csv_of(COLUMNS | {"week": [f"{day:%Y-%m-%d}" for day in MONTHS]}), f'{MODEL}date_format: "%Y-%d-%m"\n')
    assert "12 days, 2023-01-01 to 2023-01-12" in understood(folder / "data.csv", read_model(folder / "model.yaml"), swapped)


def test_a_tree_of_one_level(folder):
    spec = ModelFile("sales", "week", ["tv", "stations"], ["line"])
    assert "2 lines; no spend, so no returns and no plan; 0 controls" in understood(folder / "data.csv", spec, read_data(folder / "data.csv", spec))


# the right values, or a refusal

SAME = {  # other ways to write the same file
    "as it is": lambda text: text.encode(),
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "Windows line ends": lambda text: text.replace("\n", "\r\n").encode(),
    "old Mac line ends": lambda text: text.replace("\n", "\r").encode(),
    "blank lines": lambda text: text.replace("\n", "\n\n").encode(),
    "no last line end": lambda text: text.rstrip("\n").encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "gzip": lambda text: gzip.compress(text.encode()),
}
WRITTEN = [  # other ways to write a number: right, or refused
    *[lambda cell, form=form: form.format(cell) for form in ("{}", " {} ", '"{}"', "+{}", "€{}", "{} %", "", "nan", "{},", "{};", "'{}", "{}\u00a0")],
    *[lambda cell, form=form: form.format(float(cell)) for form in ("{:.2f}", "{:.3f}", "{:e}", "{:.17g}", "{:,.2f}", '"{:,.2f}"', "{:.1E}")],
    lambda cell: f"{float(cell):,.1f}".replace(",", " "), lambda cell: f'"{cell.replace(".", ",")}"', lambda cell: cell.replace(".", ","),
    lambda cell: cell if "." in cell else f'"{float(cell):,.0f}"', lambda cell: cell if "." in cell else f"{float(cell):,.0f}".replace(",", "."),
]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_way_to_write_a_file_is_read_right_or_refused(folder, data):
    draw, columns = data.draw, {name: list(cells) for name, cells in COLUMNS.items()}
    good = read(folder)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(["sales", "tv", "stations", "price", "tv_eur"]))
        write = draw(st.sampled_from(WRITTEN))
        rows = range(12) if draw(st.booleans()) else [draw(st.integers(0, 11))]
        for row in rows:
            columns[name][row] = write(COLUMNS[name][row])
    if draw(st.booleans()):
        columns = {name: columns[name] for name in draw(st.permutations(list(columns)))}
    text = csv_of(columns, draw(st.sampled_from([",", ",", ",", ";", "\t"])))
    lines = text.splitlines()
    for _ in range(draw(st.integers(0, 1))):
        at = draw(st.integers(1, 11))
        lines = draw(st.sampled_from([lines[:at] + lines[at + 1:] if at > 1 else lines, lines[:at] + [lines[at]] + lines[at:],
                                      [lines[0], *lines[:0:-1]], [*lines, ",,,,,,"], [*lines, "Total,1,2,3,4,5,6"], ["a title", *lines],
                                      [line + "," for line in lines], lines[1:]]))
    written = SAME[draw(st.sampled_from(list(SAME)))]("\n".join(lines) + "\n")
    model = MODEL + draw(st.sampled_from(["", "", "", 'decimal: "."\n', 'separator: ";"\n']))
    try:
        found = read(folder, written, model)
    except PrecisionError as refused:
        assert "data.csv" in str(refused)
    else:
        same(found, good)
