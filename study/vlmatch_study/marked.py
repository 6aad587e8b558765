"""Generated parts of documents: what follows a mark is replaced by what was made anew.

A part ends before its mark of the end; one that has none ends at the next empty line.
"""

import re
from collections.abc import Mapping

MARK = "<!-- {name}: made by python -m {module} -->"
END = "<!-- end of {name} -->"
_BELOW = re.compile(r"\A([^\n]+\n)*")
_MARKS = re.compile(r"<!-- ([^:\n]+: made by python -m|end of) [^\n]+ -->\n")


def replaced(text: str, made: Mapping[str, str], module: str) -> str:
    """The document with the part below each mark of `module` replaced; KeyError if a mark names no part."""
    for name in re.findall(rf"<!-- ([^:\n]+): made by python -m {re.escape(module)} -->", text):
        mark, end = MARK.format(name=name, module=module) + "\n", END.format(name=name) + "\n"
        before, after = text.split(mark)
        _, ended, rest = after.partition(end)
        rest = ended + rest if ended else _BELOW.sub("", after, count=1)
        text = f"{before}{mark}{made[name].rstrip()}\n{rest}"
    return text


def without_marks(text: str) -> str:
    """The document without its marks, for readers."""
    return _MARKS.sub("", text)
