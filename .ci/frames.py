"""Mend the tables that pandas writes, so that they are read on a page: index names beside the columns', numbers with their thousands.

What is shown stays the same: no cell is dropped, and no digit but the zeros behind the point of a column of whole numbers.
"""

import html
import re

TABLE = re.compile(r"<table\b.*?</table>", re.S)
HEAD = re.compile(r"<thead>.*?</thead>", re.S)
BODY = re.compile(r"<tbody>.*?</tbody>", re.S)
ROW = re.compile(r"<tr\b.*?</tr>", re.S)
CELL = re.compile(r"<(t[hd])\b([^>]*)>(.*?)</\1>", re.S)
NUMBER = re.compile(r"[-+−]?\d[\d,.]*(?:e[-+]?\d+)?%?|[-+−]?inf|NaN|nan|None|NaT|")
PLAIN = re.compile(r"-?\d+(?:\.\d+)?")
LONG = 28  # characters of a text that is broken into lines
LARGE = 10_000  # from here on thousands are set apart; four digits may be a year


def text_of(cell):
    "A cell as it is read."
    return html.unescape(re.sub(r"<[^>]+>", "", cell)).replace("\xa0", " ").strip()


def with_class(attributes, name):
    "A cell's attributes with one class more."
    if 'class="' in attributes:
        return re.sub(r'class="([^"]*)"', rf'class="\1 {name}"', attributes, count=1)
    return f'{attributes} class="{name}"'


def cells_of(row):
    "[(tag, attributes, content)] of a row."
    return CELL.findall(row)


def made_of(row, cells):
    "A row with other cells."
    opening = re.match(r"<tr\b[^>]*>", row)[0]
    return opening + "".join(f"<{tag}{attributes}>{content}</{tag}>" for tag, attributes, content in cells) + "</tr>"


def names_of_the_index_beside_the_columns(rows):
    "Header rows without the last one where it holds nothing but the names of the index, which move up into the empty cells."
    if len(rows) < 2:
        return rows
    names, above = cells_of(rows[-1]), cells_of(rows[-2])
    k = next((n for n, cell in enumerate(names) if not text_of(cell[2])), len(names))
    rest = [cell for cell in names[k:] if text_of(cell[2])]
    if not k or rest or len(names) != len(above) or any(text_of(cell[2]) or "colspan" in cell[1] for cell in above[:k]):
        return rows
    return [*rows[:-2], made_of(rows[-2], names[:k] + above[k:])]


def breakable(text):
    "A name that may be broken after its underscores."
    return re.sub(r"(_+)(?=[^_<\s])", r"\1<wbr>", text)


def with_thousands(texts):
    "The numbers of a column with their thousands apart, where one is large; whole numbers without a point."
    plain = [text for text in texts if PLAIN.fullmatch(text)]
    if not any(abs(float(text)) >= LARGE for text in plain):
        return texts
    whole = all(float(text) == int(float(text)) for text in plain)
    digits = 0 if whole else max(len(text.partition(".")[2]) for text in plain)
    return [f"{float(text):,.{digits}f}" if PLAIN.fullmatch(text) else text for text in texts]


def mend_body(rows):
    "The rows of a body with classes for texts, and with thousands; and the kind of each column: \"\", \"text\" or \"text long\"."
    table = [cells_of(row) for row in rows]
    first = [next((n for n, cell in enumerate(cells) if cell[0] == "td"), len(cells)) for cells in table]
    columns = {len(cells) - start for cells, start in zip(table, first)}
    if len(columns) != 1 or any("colspan" in cell[1] for cells in table for cell in cells):
        return rows, []
    kinds = []
    for column in range(columns.pop()):
        texts = [text_of(cells[start + column][2]) for cells, start in zip(table, first)]
        is_text = not all(NUMBER.fullmatch(text) for text in texts)
        kinds.append("text long" if is_text and max(map(len, texts)) > LONG else "text" if is_text else "")
        shown = texts if is_text else with_thousands(texts)
        for cells, start, was, now in zip(table, first, texts, shown):
            tag, attributes, content = cells[start + column]
            content = content.replace(was, now) if was != now else content
            cells[start + column] = tag, with_class(attributes, kinds[-1]) if is_text else attributes, content
    for cells, start in zip(table, first):
        cells[:start] = [(tag, attributes, breakable(content)) for tag, attributes, content in cells[:start]]
    return [made_of(row, cells) for row, cells in zip(rows, table)], kinds


def mend_head(rows, kinds):
    "The rows of a header, breakable, the last of them aligned as the columns below."
    table = [[(tag, attributes, breakable(content)) for tag, attributes, content in cells_of(row)]
             for row in names_of_the_index_beside_the_columns(rows)]
    if table and kinds and not any("colspan" in cell[1] for cell in table[-1]):
        start = len(table[-1]) - len(kinds)
        for n, kind in enumerate(kinds):
            tag, attributes, content = table[-1][start + n]
            table[-1][start + n] = tag, with_class(attributes, "text") if kind else attributes, content
    return [made_of(row, cells) for row, cells in zip(rows, table)]


def mend_table(table):
    "One table of pandas."
    head, body = HEAD.search(table), BODY.search(table)
    if 'class="dataframe' not in table or not head or not body:
        return table
    rows, kinds = mend_body(ROW.findall(body[0]))
    headers = mend_head(ROW.findall(head[0]), kinds)
    table = table.replace(body[0], "<tbody>" + "\n".join(rows) + "</tbody>")
    return table.replace(head[0], "<thead>" + "\n".join(headers) + "</thead>").replace(' border="1"', "")


def mend_frames(text):
    "HTML with every table of pandas mended; the style that pandas writes before each is left out."
    text = re.sub(r"<style scoped>.*?</style>\n?", "", text, flags=re.S) if 'class="dataframe' in text else text
    return TABLE.sub(lambda found: mend_table(found[0]), text)


def label_cells(page):
    "A page whose tables have, in each cell, the column that it belongs to: where a row is shown as a block, it stands there."

    def labelled(found):
        table = found[0]
        head, body = HEAD.search(table), BODY.search(table)
        if 'class="dataframe' in table or not head or not body:
            return table
        names = [html.escape(text_of(cell[2])) for cell in cells_of(head[0])]

        def mend(row):
            cells = cells_of(row[0])
            named = [(tag, f'{rest} data-label="{name}"' if name else rest, text) for (tag, rest, text), name in zip(cells, names)]
            return made_of(row[0], named) if len(cells) == len(names) else row[0]

        return table.replace(body[0], ROW.sub(mend, body[0]))

    return TABLE.sub(labelled, page)
