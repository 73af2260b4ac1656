"""Edits a YAML text in place: changed values are replaced, all other bytes stay.

This uses PyYAML because the server reads `config.yaml` with it: both see the same values. The marks
of its nodes give the position of each value. A round trip (ruamel.yaml) would keep the comments,
but it changes the indentation and the line breaks of unchanged parts. It also reads YAML 1.2, where
`yes` and `010` are other values.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

STR, MAP, SEQ, MERGE = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq", "merge"))
LINE_BREAK = re.compile("[\n\r\x85\u2028\u2029]")
# What a change may replace, tried in this order: single values, whole facts (model_metadata,
# model, fact: depth 3), the mappings around them, the document.
DEPTHS = (sys.maxsize, 3, 2, 1, 0)


class Document:
    """One YAML document: what it holds, and its text with other values in it.

    Attributes:
        value: what it loads as, with `yaml.safe_load`.

    Raises:
        yaml.YAMLError, ValueError: the text is not one YAML document.
    """

    def __init__(self, text: str) -> None:
        self._tree = _Tree(text)
        self.value: Any = self._tree.value

    def changed(self, new: dict[str, Any]) -> str:
        """The text, changed so that it loads as another mapping.

        Comments, order, quotes and line endings stay. A value that others refer to by an alias
        changes alone: each alias is replaced by the old value.

        Raises:
            yaml.YAMLError: a value cannot be written as YAML.
        """
        if _same(self.value, new):
            return self._tree.text
        for depth in DEPTHS:
            text = _Edit(self._tree, depth).to(new)
            if _loads_as(text, new):
                return text
        raise yaml.YAMLError("a value does not load as it was written")


def _loads_as(text: str, expected: Any) -> bool:
    try:
        return _same(yaml.safe_load(text), expected)
    except yaml.YAMLError:
        return False


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, of the same types: 1 is neither 1.0 nor true. NaN is NaN."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, float):
        return repr(one) == repr(other)
    return bool(one == other)


# ---- values as text ----


class _Dumper(yaml.SafeDumper):
    """Writes a value that occurs several times in full each time."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _JsonDumper(_Dumper):
    """Quotes texts as JSON does."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    """Write a text of several lines on one line, with escapes."""
    if LINE_BREAK.search(value):
        return _quoted(dumper, value)
    return dumper.represent_scalar(STR, value)


def _quoted(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(STR, value, '"')


_Dumper.add_representer(str, _text)
_JsonDumper.add_representer(str, _quoted)


def _dump(value: Any, flow: bool | None, dumper: type[_Dumper] = _Dumper) -> str:
    text: str = yaml.dump(
        value,
        Dumper=dumper,
        default_flow_style=flow,
        sort_keys=False,
        allow_unicode=True,
        width=sys.maxsize,
    )
    return text.removesuffix("...\n").removesuffix("\n")


# ---- the positions of the values ----


class _Place(NamedTuple):
    """The position of a node in a text.

    Attributes:
        node: the node; for an alias the one that it refers to.
        start: the index of its first character: of its anchor or tag, if it has one.
        end: the index after its last character.
        column: of its first character.
        is_alias: whether there is an alias at this position.
    """

    node: Any
    start: int
    end: int
    column: int
    is_alias: bool = False

    @property
    def is_block(self) -> bool:
        """Whether indentation marks its end."""
        if self.is_alias:
            return False
        if isinstance(self.node, yaml.ScalarNode):
            return self.node.style in ("|", ">")
        return not self.node.flow_style


class _Tree(yaml.SafeLoader):
    """The nodes of a text, and their positions.

    PyYAML gives an alias the node of its anchor, and a mapping what `<<` merges into it:
    this loader keeps the places of the aliases, and the mapping's own entries.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self._pairs: dict[int, list[tuple[Any, Any]]] = {}
        self.aliases: dict[tuple[int, ...], _Place] = {}
        self.root: Any = self.get_single_node()
        self.value: Any = None if self.root is None else self.construct_document(self.root)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            place = _place(node, event)._replace(is_alias=True)
            self.aliases[_child(parent, index, node)] = place
        elif isinstance(node, yaml.MappingNode):
            self._pairs[id(node)] = list(node.value)
        return node

    def place(self, node: Any, parent: Any, index: Any) -> _Place:
        """The position of a child. The index is as in `compose_node`: a key's node for a value."""
        return self.aliases.get(_child(parent, index, node)) or self.anchored(node)

    def anchored(self, node: Any) -> _Place:
        """The position of the node itself, not of an alias."""
        place = _place(node, node)
        if not place.is_block:
            return place
        if isinstance(node, yaml.ScalarNode):
            return place._replace(end=len(self.text[: place.end].rstrip()))
        return place._replace(end=max(child.end for child in self.children(node)))

    def children(self, node: Any) -> Iterator[_Place]:
        """The places of a collection's items, or of its keys and values."""
        if isinstance(node, yaml.SequenceNode):
            yield from self.items(node)
            return
        for key, value in self._pairs[id(node)]:
            yield from (self.place(key, node, None), self.place(value, node, key))

    def items(self, node: Any) -> list[_Place]:
        """The places of a sequence's items."""
        return [self.place(item, node, index) for index, item in enumerate(node.value)]

    def entries(self, node: Any) -> dict[Any, tuple[_Place, _Place]]:
        """Key to the places of key and value: a mapping's own entries, the last of each key."""
        return {
            self.construct_object(key, deep=True): (
                self.place(key, node, None),
                self.place(value, node, key),
            )
            for key, value in self._pairs[id(node)]
            if key.tag != MERGE
        }

    def line_end(self, index: int) -> int:
        """The index of the line break after an index, or of the text's end."""
        if found := LINE_BREAK.search(self.text, index):
            return found.start()
        return len(self.text)


def _place(node: Any, marked: Any) -> _Place:
    start, end = marked.start_mark, marked.end_mark
    return _Place(node, start.index, end.index, start.column)


def _child(parent: Any, index: Any, node: Any) -> tuple[int, ...]:
    """What identifies a child among the others: a key's node, a value's key, an item's number."""
    if index is None:
        return id(parent), id(node)
    if isinstance(index, int):
        return id(parent), index, 0
    return id(parent), id(index), 1


# ---- the change ----


class _Edit:
    """The splices that change a text.

    Args:
        tree: the nodes of the text.
        depth: a value below this many keys is replaced as a whole if any part of it changes.
    """

    def __init__(self, tree: _Tree, depth: int) -> None:
        self._tree = tree
        self._text = text = tree.text
        self._depth = depth
        self._splices: list[tuple[int, int, str]] = []
        self._newline = "\n"
        if found := re.search(r"\r\n|\n|\r", text):
            self._newline = found[0]
        self._dumper = _Dumper
        if re.match(r'\ufeff?\s*\{\s*"', text):
            self._dumper = _JsonDumper

    def to(self, new: Any) -> str:
        """The text that loads as `new`, as a rule: unusual YAML may need less depth."""
        if self._depth == 0:
            return self._lines(_dump(new, None), 0)
        self._change_inside(self._tree.root, self._tree.value, new, 0)
        self._resolve_aliases()
        parts, done = [], 0
        for start, end, text in sorted(self._splices, key=lambda splice: splice[0]):
            parts += [self._text[done:start], text]
            done = end
        return "".join([*parts, self._text[done:]])

    def _change_inside(self, node: Any, old: Any, new: Any, depth: int) -> bool:
        """Change a collection entry by entry; False if it must be replaced as a whole."""
        if depth >= self._depth or not node.value:
            return False
        if isinstance(old, dict) and isinstance(new, dict) and node.tag == MAP:
            return old.keys() <= new.keys() and self._change_entries(node, old, new, depth)
        if isinstance(old, list) and isinstance(new, (list, tuple)) and node.tag == SEQ:
            return len(old) == len(new) and self._change_items(node, old, new, depth)
        return False

    def _change_items(self, node: Any, old: Any, new: Any, depth: int) -> bool:
        for place, before, after in zip(self._tree.items(node), old, new, strict=True):
            if not self._is_done(place, before, after, depth):
                self._put(place, self._flow(after))
        return True

    def _change_entries(self, node: Any, old: Any, new: Any, depth: int) -> bool:
        entries, added = self._tree.entries(node), {}
        for key, value in new.items():
            if key not in entries:  # new, or merged with `<<`
                if key not in old or not _same(old[key], value):
                    added[key] = value
            elif not self._is_done(entries[key][1], old[key], value, depth):
                self._change_entry(node, *entries[key], value)
        if added:
            self._add(node, added)
        return True

    def _is_done(self, place: _Place, old: Any, new: Any, depth: int) -> bool:
        if _same(old, new):
            return True
        return not place.is_alias and self._change_inside(place.node, old, new, depth + 1)

    def _change_entry(self, node: Any, key: _Place, place: _Place, value: Any) -> None:
        """Replace the whole value of a key. The comments after the value stay after the key."""
        colon = re.compile(r"[ \t]*:").match(self._text, key.end)
        if node.flow_style or colon is None:
            self._put(place, self._flow(value))
            return
        text = _dump(value, None)
        if _is_inline(value, text) and not place.is_block:
            self._put(place, text)
            return
        end = self._tree.line_end(place.end)
        comment = self._comment(colon.end(), place, self._text[place.end : end])
        self._splices.append((colon.end(), end, self._entry(value, key.column, comment)))

    def _comment(self, colon: int, place: _Place, behind: str) -> str:
        """The comments between a colon and a value, and the one on the value's last line."""
        if place.is_block:  # the last line goes; a comment may follow an anchor or `|`
            head = self._text[place.start : self._tree.line_end(colon)]
            behind = "".join(re.findall(r"[ \t]+#.*$", head))
        return self._text[colon : place.start].rstrip() + behind

    def _add(self, node: Any, added: Mapping[Any, Any]) -> None:
        """Add entries after a mapping's last one."""
        places = list(self._tree.children(node))
        end = max(place.end for place in places)
        if node.flow_style:
            text = "".join(f", {self._flow({key: added[key]})[1:-1]}" for key in added)
        else:
            end, column = self._tree.line_end(end), places[0].column
            text = "".join(
                f"{self._newline}{' ' * column}{self._flow(key)}:{self._entry(value, column, '')}"
                for key, value in added.items()
            )
        self._splices.append((end, end, text))

    def _resolve_aliases(self) -> None:
        """Write the old value in place of each alias of a node that changes."""
        changes = list(self._splices)
        for alias in self._tree.aliases.values():
            anchored = self._tree.anchored(alias.node)
            end = anchored.end
            if anchored.is_block:  # an entry may have been added after it
                end = self._tree.line_end(end)
            changed = any(start <= end and anchored.start <= stop for start, stop, _ in changes)
            gone = any(start <= alias.start < stop for start, stop, _ in changes)
            if changed and not gone:
                self._put(alias, self._flow(self._tree.construct_document(alias.node)))

    def _put(self, place: _Place, text: str) -> None:
        before = self._text[place.start - 1 : place.start]
        if place.start == place.end and not before.isspace():  # there was no value
            text = f" {text}"
        self._splices.append((place.start, place.end, text))

    def _entry(self, value: Any, column: int, comment: str) -> str:
        """What follows the colon of a key in a column, in block style."""
        text = _dump(value, None)
        if _is_inline(value, text):
            return f" {text}{comment}"
        return f"{comment}{self._newline}{self._lines(text, column + 2)}"

    def _lines(self, text: str, column: int) -> str:
        return self._newline.join(" " * column + line for line in text.split("\n"))

    def _flow(self, value: Any) -> str:
        """A value on one line, in a form that is valid anywhere."""
        return _dump([value], True, self._dumper)[1:-1]


def _is_inline(value: Any, text: str) -> bool:
    """Whether a value's text can follow its key on the same line."""
    return not isinstance(value, (dict, list, tuple)) or text[0] in "[{"
