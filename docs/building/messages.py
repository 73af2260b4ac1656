"""`reference/messages.md`: what the generator and the server say when something is wrong.

The messages are found where exceptions are made, warnings given and errors logged.
"""

import ast
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from .markup import blocks, code, table

ROOT = Path(__file__).resolve().parents[2]
FEWEST_WORDS = 3
MOST_FORMS = 12  # of one message
LOGGED = ("warning", "error", "exception", "critical")
WARNED = re.compile(r"_?warn(ings)?")
BUILTIN = ("Exception", "ImportError", "RuntimeError", "TypeError", "ValueError")
SLOT = re.compile(r"%\.?\d*[dfgrs]")  # of a logged message
FILES = {
    "The generator and the command line": ("generator", "generator"),
    "Models of a framework": ("hooks", "hooks"),
    "The server and its workers": ("template/src/common", "common"),
}


Local = dict[str, list[ast.expr]]
"""What a scope gives to each of its names."""

# What a client of the server gets for an exception of ours.
ANSWERED = {
    "InvalidInput": "400",
    "DecodeError": "400",
    "UnknownModel": "404",
    "Unsendable": "500, and the log",
    "TooLarge": "500",
    "ConfigError": "ConfigError, at the start",
    "LoadError": "LoadError, at the start",
    "error": "in another message",
    "log": "in the log",
}


# Messages that are said far from where they are written: the constant, and how.
NAMED = {
    "common.worker.flow": ("NO_MEMORY", "503"),
    "common.worker.gpu": ("FIX", "LoadError"),
    "common.serving.grpc.calls": ("FAILED", "500"),
}


@dataclass(frozen=True, order=True)
class Message:
    """A message.

    Attributes:
        module: the module that says it.
        text: its words, with the names of what is put into it as in `{name}`.
        how: the exception, the status of the answer, `warning`, or `log`.
    """

    module: str
    text: str
    how: str


def page() -> str:
    """The messages, by who says them."""
    return blocks(part for title, (folder, _) in FILES.items() for part in _part(title, folder))


def _part(title: str, folder: str) -> Iterator[str]:
    yield f"## {title} {{#{FILES[title][1]}}}"
    rooms: dict[str, list[Message]] = {}
    for message in sorted(messages()):
        if message.module.split(".")[0] == FILES[title][1]:
            rooms.setdefault(_room(message.module), []).append(message)
    for room, found in rooms.items():
        yield f"### {code(room)} {{#{room}}}"
        said = {(each.text, ANSWERED.get(each.how, each.how)) for each in found}
        yield table(("message", "as"), [(code(text), how) for text, how in sorted(said)])


def _room(module: str) -> str:
    """The folder of a module; a module at the top of its package is its own."""
    return ".".join(module.split(".")[:2])


@functools.cache
def messages() -> frozenset[Message]:
    """Every message."""
    found = []
    for folder, package in FILES.values():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            if not {"hooks", "template"} & set(parts):
                found.append((name, ast.parse(path.read_text(encoding="utf-8"))))
    known = Known(dict(found))
    return frozenset(each for name, tree in found for each in _of_module(name, tree, known))


def _of_module(name: str, tree: ast.Module, known: "Known") -> Iterator[Message]:
    reader = Reader(tree, known)
    for scope in ast.walk(tree):
        if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Module)):
            local: Local = {}
            nodes = list(_own(scope))
            for given, value in assigned(nodes):
                local.setdefault(given, []).append(value)
            for node in nodes:
                for how, text in reader.said(node, local):
                    yield Message(name, text, how)
    if name in NAMED:
        yield from (Message(name, text, NAMED[name][1]) for text in reader.named(NAMED[name][0]))


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child
            yield from _own(child)


class Known:
    """What all modules define: their exceptions, and the texts and functions that others import.

    Modules are known by the last part of their names, as imports name them.
    """

    def __init__(self, trees: Mapping[str, ast.Module]) -> None:
        self.exceptions = {*BUILTIN, "HTTPException"}
        self.texts: dict[str, dict[str, ast.expr]] = {}
        self.functions: dict[str, dict[str, ast.FunctionDef]] = {}
        for name, tree in trees.items():
            home = name.rpartition(".")[2]
            self.texts.setdefault(home, {}).update(assigned(tree.body))
            functions = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}
            self.functions.setdefault(home, {}).update(functions)
        classes = [
            node
            for tree in trees.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        ]
        before = 0
        while before < len(self.exceptions):  # a base may stand behind its heirs
            before = len(self.exceptions)
            for each in classes:
                if any(_name(base) in self.exceptions for base in each.bases):
                    self.exceptions.add(each.name)


def assigned(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, ast.expr]]:
    """The names that statements give to values by plain assignments."""
    for node in nodes:
        if isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
            yield node.target.id, node.value
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _pairs(target, node.value)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """The names in a target, with the value of each."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, other in zip(target.elts, value.elts, strict=False):
            yield from _pairs(one, other)


class Reader:
    """Reads the messages of a module."""

    def __init__(self, tree: ast.Module, known: Known) -> None:
        self._known = known
        self._texts: dict[str, ast.expr] = {}
        self._functions: dict[str, ast.FunctionDef] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                self._import(node)
        self._texts.update(assigned(tree.body))
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        self._functions.update({each.name: each for each in functions})

    def _import(self, node: ast.ImportFrom) -> None:
        home = (node.module or "").rpartition(".")[2]
        for alias in node.names:
            name = alias.asname or alias.name
            if alias.name in self._known.texts.get(home, {}):
                self._texts[name] = self._known.texts[home][alias.name]
            if alias.name in self._known.functions.get(home, {}):
                self._functions[name] = self._known.functions[home][alias.name]

    def named(self, name: str) -> list[str]:
        """The texts of a constant of the module."""
        return self.forms(self._texts[name], {})

    def said(self, node: ast.AST, local: Local) -> Iterator[tuple[str, str]]:
        """How a call, or what is raised or returned with a status, says something; and what."""
        how, parts = None, []
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            if _name(node.exc.func) == "AttributeError":
                return
            how, parts = self._how(node.exc) or "error", node.exc.args
        elif isinstance(node, ast.Call):
            how, parts = self._how(node), node.args
        elif isinstance(node, ast.Tuple):
            how, parts = _status(node.elts), node.elts
        if how is None:
            return
        call = node.exc if isinstance(node, ast.Raise) else node
        if isinstance(call, ast.Call) and _name(call.func) == "value":
            forms = self._of_value(call, local)
        else:
            forms = self._of_parts(parts, local, is_log=how == "log")
        yield from ((how, text) for text in forms if len(text.split()) >= FEWEST_WORDS)

    def _how(self, call: ast.Call) -> str | None:
        if status := _status(call.args):
            return status
        name = _name(call.func)
        if isinstance(call.func, ast.Attribute):
            owner = _name(call.func.value)
            if owner == "ConfigError" and name == "value":
                return "ConfigError"
            if owner in ("logger", "logging") and name in LOGGED:
                return "log"
        if WARNED.fullmatch(name):
            return "warning"
        if name == "__init__":  # of an exception that makes its own message
            return "error"
        return name if name in self._known.exceptions else None

    def _of_value(self, call: ast.Call, local: Local) -> list[str]:
        """What `ConfigError.value` makes of a key, a rule and a value."""
        shown = [self.forms(each, local) or ["{" + placeholder(each) + "}"] for each in call.args]
        return [
            f"config.yaml: {key} must be {rule}, it is {{value}}"
            for key, rule in product(*shown[:2])
        ]

    def _of_parts(self, parts: list[ast.expr], local: Local, is_log: bool) -> list[str]:
        for index, each in enumerate(parts):
            forms = self.forms(each, local)
            if any(" " in text for text in forms):
                return [_filled(text, parts[index + 1 :]) for text in forms] if is_log else forms
        return []

    def forms(self, node: ast.expr, local: Local) -> list[str]:
        """The texts that an expression may be; none if that is not known."""
        if isinstance(node, ast.Constant):
            return [str(node.value)] if type(node.value) in (str, int, float) else []
        if isinstance(node, ast.IfExp):
            return self.forms(node.body, local) + self.forms(node.orelse, local)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._joined([node.left, node.right], local)
        if isinstance(node, ast.JoinedStr):
            return self._joined(node.values, local)
        if isinstance(node, ast.FormattedValue):
            forms = self.forms(node.value, local)
            return forms if node.conversion == -1 else [repr(text) for text in forms]
        if isinstance(node, ast.Name):
            return self._named(node.id, local)
        if isinstance(node, ast.Attribute):
            found = self._known.texts.get(_name(node.value), {}).get(node.attr)
            return self.forms(found, {}) if found else []
        if isinstance(node, ast.Call):
            return self._called(node, local)
        return []

    def _joined(self, nodes: Iterable[ast.expr], local: Local) -> list[str]:
        parts = [self.forms(each, local) or ["{" + placeholder(each) + "}"] for each in nodes]
        return ["".join(each) for each in product(*parts)][:MOST_FORMS]

    def _named(self, name: str, local: Local) -> list[str]:
        if name in local:
            values = local[name]
            others = {key: value for key, value in local.items() if key != name}
            found = [self.forms(value, others) or ["{" + name + "}"] for value in values]
            texts = [text for each in found for text in each]
            return texts if texts != ["{" + name + "}"] * len(texts) else []
        if name.isupper() and name in self._texts:
            return self.forms(self._texts[name], {})
        return []

    def _called(self, call: ast.Call, local: Local) -> list[str]:
        """The texts that a function of ours returns."""
        name = _name(call.func)
        if name == "argument":
            return [self._argument(call)]
        function = self._functions.get(name)
        if function is None:
            return []
        returned = [node.value for node in _own(function) if isinstance(node, ast.Return)]
        texts = [text for value in returned if value for text in self._shallow(value)]
        return texts if len(texts) == len(returned) else []

    def _argument(self, call: ast.Call) -> str:
        """An argument of the API, as in `overwrite=True`."""
        name, *value = ["".join(self.forms(each, {})) or ast.unparse(each) for each in call.args]
        if not value:
            return name
        is_text = isinstance(call.args[1], ast.Constant) and isinstance(call.args[1].value, str)
        return f"{name}={value[0]!r}" if is_text else f"{name}={value[0]}"

    def _shallow(self, node: ast.expr) -> list[str]:
        """The text of an expression whose own calls are left as they are."""
        if isinstance(node, (ast.Constant, ast.JoinedStr)):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            return ["".join(_written(each) for each in parts)]
        return []


def _written(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "{" + placeholder(node) + "}"


def _status(parts: list[ast.expr]) -> str | None:
    """The status of an HTTP error among some expressions."""
    numbers = [each.value for each in parts if isinstance(each, ast.Constant)]
    return next((str(each) for each in numbers if type(each) is int and 400 <= each < 600), None)


def placeholder(node: ast.AST) -> str:
    """A name for what is put into a message."""
    if isinstance(node, ast.FormattedValue):
        return placeholder(node.value)
    if isinstance(node, ast.Call):
        return placeholder(node.args[0] if node.args else node.func)
    if isinstance(node, ast.Subscript):
        return placeholder(node.value)
    if isinstance(node, ast.BinOp):
        return placeholder(node.left)
    return _name(node).strip("_") or "..."


def _name(node: ast.AST) -> str:
    """The last name of an expression."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _filled(text: str, values: list[ast.expr]) -> str:
    """The text of a line of the log, with the names of its values."""
    left = iter(values)
    return SLOT.sub(lambda _: "{" + placeholder(next(left)) + "}", text)
