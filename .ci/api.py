"""Write a symbol's reference as Markdown: signature, docstring, parameters with types, and a class's methods."""

import importlib
import inspect
import re

from fastcore.docments import docments
from nbdev.doclinks import NbdevLookup

LINE = 88


def type_name(annotation):
    "An annotation as a reader would write it, without the modules that its names come from."
    if annotation is inspect.Parameter.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"(?:\w+\.)+(\w)", r"\1", text)


def default_value(default):
    "A default as a reader would write it; functions and classes by their name."
    return getattr(default, "__name__", None) or repr(default)


def parameter_text(parameter):
    "One parameter of a signature, with its stars, type and default."
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    annotation = type_name(parameter.annotation)
    text = stars + parameter.name + (f": {annotation}" if annotation else "")
    if parameter.default is parameter.empty:
        return text
    return text + (" = " if annotation else "=") + default_value(parameter.default)


def parameters(symbol):
    "The parameters that a caller gives."
    return [p for p in inspect.signature(symbol).parameters.values() if p.name not in ("self", "cls")]


def signature_text(symbol, name):
    "The signature on one line where it fits, else with one parameter a line."
    if isinstance(symbol, property):
        return f"{name}: {type_name(symbol.fget.__annotations__.get('return', inspect.Parameter.empty)) or 'property'}"
    parts, keyword_only, positional_only = [], False, False
    for parameter in parameters(symbol):
        if positional_only and parameter.kind != parameter.POSITIONAL_ONLY:
            parts.append("/")
        positional_only = parameter.kind == parameter.POSITIONAL_ONLY
        if parameter.kind == parameter.VAR_POSITIONAL:
            keyword_only = True
        if parameter.kind == parameter.KEYWORD_ONLY and not keyword_only:
            parts.append("*")
            keyword_only = True
        parts.append(parameter_text(parameter))
    result = "" if inspect.isclass(symbol) else type_name(inspect.signature(symbol).return_annotation)
    arrow = f" -> {result}" if result else ""
    line = f"{name}({', '.join(parts)}){arrow}"
    return line if len(line) <= LINE else f"{name}(\n    " + ",\n    ".join(parts) + f",\n){arrow}"


def row(*cells):
    "One row of a Markdown table."
    return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"


def code(text):
    return f"`{text}`" if text else ""


def parameter_table(symbol):
    "The commented parameters of a symbol as a table, or nothing where no parameter has a comment."
    if isinstance(symbol, property):
        return []
    comments = docments(symbol)
    known = parameters(symbol)
    if not any(comments.get(name) for name in [p.name for p in known] + ["return"]):
        return []
    lines = [row("Parameter", "Type", "Default", "Meaning"), "|---|---|---|---|"]
    for parameter in known:
        default = "" if parameter.default is parameter.empty else code(default_value(parameter.default))
        kind = code(type_name(parameter.annotation))
        lines.append(row(code(parameter.name), kind, default, comments.get(parameter.name) or ""))
    if not inspect.isclass(symbol) and comments.get("return"):
        result = code(type_name(inspect.signature(symbol).return_annotation))
        lines.append(row("*returns*", result, "", comments["return"]))
    return [*lines, ""]


def method_table(owner, name, shown):
    "The public methods and properties of a class that have no heading of their own, with anchors to link to."
    lines = []
    for method_name, method in vars(owner).items():
        method = method.__func__ if isinstance(method, (classmethod, staticmethod)) else method
        full_name = f"{name}.{method_name}"
        is_method = inspect.isfunction(method) or isinstance(method, property)
        if method_name.startswith("_") or full_name in shown or not (is_method and method.__doc__):
            continue
        summary = inspect.getdoc(method).split("\n\n")[0]
        short = method_name
        if not isinstance(method, property):
            short += "(" + ", ".join(p.name for p in parameters(method)) + ")"
        lines.append(row(f"[{code(short)}]{{#{full_name.lower()}}}", summary))
    return [row("Method", "What it gives"), "|---|---|", *lines, ""] if lines else []


def find_symbol(name):
    "The object that a name on a page means, and its full name, or None for what the package does not export."
    modules = [module for entry in NbdevLookup().entries.values() for module in entry["syms"].items()]
    for module_name, symbols in modules:
        if f"{module_name}.{name}" in symbols:
            symbol = importlib.import_module(module_name)
            for part in name.split("."):
                symbol = inspect.getattr_static(symbol, part)
            symbol = symbol.__func__ if isinstance(symbol, (classmethod, staticmethod)) else symbol
            return symbol, f"{module_name}.{name}"
    return None


def source_link(symbol, full_name):
    "The address of a symbol's line in the repository."
    _, line = inspect.getsourcelines(symbol.fget if isinstance(symbol, property) else symbol)
    return NbdevLookup().code(full_name).partition("#")[0] + f"#L{line}"


def reference(name, shown=()):
    "The Markdown reference of an exported symbol, or None; `shown` are names with a reference of their own."
    found = find_symbol(name)
    if found is None:
        return None
    symbol, full_name = found
    prefix = "class " if inspect.isclass(symbol) else ""
    lines = [
        "---",
        "",
        f"[source]({source_link(symbol, full_name)}){{.source-link}}",
        "",
        f"### {name}",
        "",
        "```python",
        prefix + signature_text(symbol, name),
        "```",
        "",
        inspect.getdoc(symbol) or "",
        "",
        *parameter_table(symbol),
        *(method_table(symbol, name, shown) if inspect.isclass(symbol) else []),
    ]
    return NbdevLookup().linkify("\n".join(lines))
