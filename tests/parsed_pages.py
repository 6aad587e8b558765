"""A page as its elements, for tests: parsed by the standard library's HTML parser, never by patterns over the text."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input", "path", "line", "circle", "use", "polyline", "wbr", "rect"}
RAW = {"script", "style"}


@dataclass
class Element:
    """One element: its attributes, its children, and the text directly inside."""

    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    def __iter__(self) -> Iterator["Element"]:
        """This element and all below it."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child

    @property
    def text(self) -> str:
        """All text that a reader sees in it, with single spaces."""
        parts = [
            child if isinstance(child, str) else child.text
            for child in self.children
            if isinstance(child, str) or child.tag not in RAW
        ]
        return " ".join("".join(parts).split())

    @property
    def source(self) -> str:
        """The text directly inside, as it is."""
        return "".join(child for child in self.children if isinstance(child, str))

    def all(self, tag: str, **attributes: str) -> list["Element"]:
        """The elements of this tag, and with these attributes; `class_` finds one word of the class."""
        word = attributes.pop("class_", None)
        return [
            each
            for each in self
            if each.tag == tag
            and all(each.attributes.get(key) == value for key, value in attributes.items())
            and (word is None or word in each.attributes.get("class", "").split())
        ]

    def by_id(self, name: str) -> "Element":
        """The only element of this identifier."""
        (found,) = [each for each in self if each.attributes.get("id") == name]
        return found

    def cells(self) -> list[list[str]]:
        """The texts of a table's rows."""
        return [[cell.text for cell in row if cell.tag in ("th", "td")] for row in self.all("tr")]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {key: value or "" for key, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parsed(page: str) -> Element:
    """The page; AssertionError where an element is closed that is not the last open one, or one is left open."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    assert [each.tag for each in parser.open] == ["root"], "elements are left open"
    return parser.root
