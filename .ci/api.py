"""Write a symbol's reference as Markdown: signature, docstring, parameters with types, and a class's methods."""

import ast
import dataclasses
import functools
import importlib
import inspect
import re

from fastcore.docments import docments
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup

LINE = 88
HERE = {"module": None}  # the module whose page is written: of namesakes, its own is meant
MANY = 5  # parameters of a method in a table of methods
CALLED = {  # classes that a reader meets by another name
    "Plots": "Fit.plot",
    "FitPlots": "Fit.plot",
    "PriorPlots": "Prior.plot",
    "EnsemblePlots": "EnsembleResult.plot",
}


def type_name(annotation):
    "An annotation as a reader would write it, without the modules that its names come from."
    if annotation is inspect.Parameter.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"(?:\w+\.)+(\w)", r"\1", text)


def default_value(default):
    "A default as a reader would write it: functions and classes by their name, a record by what is not its own default, cut where it is long."
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        given = [(f.name, getattr(default, f.name)) for f in dataclasses.fields(default)]
        own = {f.name: f.default for f in dataclasses.fields(default)}
        told = ", ".join(f"{name}={default_value(value)}" for name, value in given if value is not own[name])
        return f"{type(default).__name__}({told})"
    if isinstance(default, tuple) and len(default) > MANY:
        return f"({', '.join(map(repr, default[:3]))}, …, {default[-1]!r})"
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
    "The parameters that a caller gives; none are known of an exception that takes what its parent takes."
    try:
        signature = inspect.signature(symbol)
    except ValueError:
        return []
    made = {f.name: f.default_factory for f in getattr(symbol, "__dataclass_fields__", {}).values()}
    factories = {name: factory() for name, factory in made.items() if factory is not dataclasses.MISSING}
    own = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    return [p.replace(default=factories[p.name]) if p.name in factories else p for p in own]


def signature_text(symbol, name):
    "The signature on one line where it fits, else with one parameter a line."
    if isinstance(symbol, property):
        made = symbol.fget if inspect.isclass(symbol.fget) else symbol.fget.__annotations__.get("return", inspect.Parameter.empty)
        return f"{name}: {type_name(made) or 'property'}"
    if inspect.isclass(symbol) and issubclass(symbol, BaseException):
        return f"{name}({symbol.__base__.__name__})"
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


def table(header, rows):
    "A Markdown table without the columns that are empty throughout."
    filled = [n for n in range(len(header)) if any(cells[n] for cells in rows)]
    pick = [[cells[n] for n in filled] for cells in [header, *rows]]
    return [row(*pick[0]), "|" + "---|" * len(filled), *(row(*cells) for cells in pick[1:]), ""]


def field_comments(symbol):
    "{field: its comment} of a NamedTuple, whose constructor has no source."
    fields = re.findall(r"^    (\w+): [^#\n]*# *(.+)$", inspect.getsource(symbol), re.M)
    return {name: comment for name, comment in fields if name in symbol._fields}


def comments(symbol):
    "{parameter: its comment}, of starred ones and of what is returned, too, which fastcore takes for each other."
    if inspect.isclass(symbol) and issubclass(symbol, tuple) and hasattr(symbol, "_fields"):
        return field_comments(symbol)
    found = {} if isinstance(symbol, property) else dict(docments(symbol))
    if inspect.isfunction(symbol):
        source = inspect.getsource(symbol)
        for name in [p.name for p in parameters(symbol) if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]:
            comment = re.search(rf"^ *\*+{name}\b[^#\n]*# *(.+)$", source, re.M)
            found[name] = comment and comment[1]
        end = re.search(r"^(?:def .*| *)\)[^#\n]*: *# *(.+)$", source, re.M)  # also where no type is given
        found["return"] = end and end[1]
    return found


def parameter_table(symbol):
    "The commented parameters of a symbol as a table, or nothing where no parameter has a comment."
    meaning = comments(symbol)
    if not any(meaning.values()):
        return []
    rows = []
    for parameter in parameters(symbol):
        default = "" if parameter.default is parameter.empty else code(default_value(parameter.default))
        kind = code(type_name(parameter.annotation))
        rows.append((code(parameter.name), kind, default, meaning.get(parameter.name) or ""))
    if not inspect.isclass(symbol) and meaning.get("return"):
        result = code(type_name(inspect.signature(symbol).return_annotation))
        rows.append(("*returns*", result, "", meaning["return"]))
    return table(("Parameter", "Type", "Default", "Meaning"), rows)


def plain(method):
    "The function behind a class or static method; a cached property as the property that it is to a reader."
    if isinstance(method, functools.cached_property):
        return property(method.func, doc=method.__doc__)
    return method.__func__ if isinstance(method, (classmethod, staticmethod)) else method


def is_former(method):
    "Whether a method only keeps a name that another one had before."
    was = getattr(method, "__wrapped__", method)
    return was is not method and was.__name__ != method.__name__ or (method.__doc__ or "").startswith("The former name")


def public_methods(owner):
    "The documented public methods and properties of a class, with those of its bases in the package."
    bases = [base for base in owner.__mro__ if base.__module__.partition(".")[0] == get_config().lib_path.name]
    methods = {name: plain(method) for base in reversed(bases) for name, method in vars(base).items()}
    for name, method in methods.items():
        known = inspect.isfunction(method) or isinstance(method, property)
        if not name.startswith("_") and known and method.__doc__ and not is_former(method):
            yield name, method


def method_table(owner, name, shown):
    "The methods of a class that have no heading of their own, with anchors to link to, linked to their reference where there is one."
    rows = []
    for method_name, method in public_methods(owner):
        full_name = f"{name}.{method_name}"
        if full_name not in shown:
            short = method_name
            if not isinstance(method, property):
                names = [p.name for p in parameters(method)]
                short += "(" + ", ".join(names[:MANY] + ["…"] * (len(names) > MANY)) + ")"
            summary = inspect.getdoc(method).split("\n\n")[0]
            rows.append((f'<span id="{full_name.lower()}">[{code(short)}](@{method.fget.__qualname__ if isinstance(method, property) else method.__qualname__})</span>', summary))
    return table(("Method", "What it gives"), rows) if rows else []


@functools.cache
def import_all():
    "Import every module, after which classes have the methods that later chapters add."
    for module_name in NbdevLookup().entries[get_config().lib_path.name]["syms"]:
        importlib.import_module(module_name)


def find_symbol(name):
    "The object that a name on a page means, and its module, or None for what the package does not export."
    package = NbdevLookup().entries.get(get_config().lib_path.name)
    if package is None:
        raise SystemExit("The package is not installed: pip install -e '.[dev]'")
    first = name.partition(".")[0]
    lib = get_config().lib_path.name
    home = f"{lib}.{getattr(importlib.import_module(lib), '_HOME', {}).get(first)}"  # what users import by this name
    for module_name, symbols in sorted(package["syms"].items(), key=lambda item: (item[0] != HERE["module"], item[0] != home)):
        if f"{module_name}.{first}" in symbols:
            module = symbol = importlib.import_module(module_name)
            if "." in name:
                import_all()
            for part in name.split("."):
                symbol = inspect.getattr_static(symbol, part, None)
            if symbol is not None and getattr(symbol, "__objclass__", None) is not object:  # else of a namesake
                return plain(symbol), module
    return None


def public_name(name):
    "A method's name by the public class that has it, where it is written in a private base."
    owner, _, method = name.rpartition(".")
    found = find_symbol(owner) if owner.startswith("_") else None
    if found:
        private, module = found
        for heir in vars(module).values():
            if inspect.isclass(heir) and issubclass(heir, private) and not heir.__name__.startswith("_"):
                return f"{heir.__name__}.{method}"
    return name


def shown_name(name):
    "A name as a reader would call it."
    first, dot, rest = name.partition(".")
    return CALLED.get(first, first) + dot + rest


def defined_names(source):
    "The names that a piece of exported code defines; those of methods that `patch` adds, with their class."
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            patched = any(ast.unparse(decorator) == "patch" for decorator in node.decorator_list)
            owner = ast.unparse(next(iter(node.args.posonlyargs + node.args.args)).annotation).strip("'\"") + "." if patched else ""
            yield owner + node.name


def code_of(symbol):
    "The function behind a property, or what else has a source."
    return symbol.fget if isinstance(symbol, property) else symbol


def line_number(symbol):
    "Where a symbol stands in its module."
    return inspect.getsourcelines(code_of(symbol))[1]


def source_link(symbol, module):
    "The address of a symbol's line in the repository."
    config = get_config()
    path = getattr(code_of(symbol), "__module__", module.__name__).replace(".", "/")  # a method may come from another module
    return f"{config.git_url}/blob/{config.branch}/{path}.py#L{line_number(symbol)}"


def reference(name, shown=()):
    "The Markdown reference of an exported symbol, or None; `shown` are names with a reference of their own."
    found = find_symbol(name)
    if found is None:
        return None
    symbol, module = found
    prefix = "class " if inspect.isclass(symbol) else ""
    lines = [
        "---",
        "",
        f"[source]({source_link(symbol, module)}){{.source-link}}",
        "",
        f"### {shown_name(name)}",
        "",
        "```python",
        prefix + signature_text(symbol, shown_name(name)),
        "```",
        "",
        inspect.getdoc(symbol) or "",
        "",
        *parameter_table(symbol),
        *(method_table(symbol, name, shown) if inspect.isclass(symbol) else []),
    ]
    return NbdevLookup().linkify("\n".join(lines))
