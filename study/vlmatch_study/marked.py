"""Replace the generated parts of documents.

A part begins below its mark. It ends at its end mark, or at the next empty line if it has none.
"""

import re
from collections.abc import Mapping

MARK = "<!-- {name}: made by python -m {module} -->"
END = "<!-- end of {name} -->"
_BELOW = re.compile(r"\A([^\n]+\n)*")
_MARKS = re.compile(r"<!-- ([^:\n]+: made by python -m|end of) [^\n]+ -->\n")


def replaced(text: str, made: Mapping[str, str], module: str) -> str:
    """The document with each part marked by `module` replaced by the part in `made`; KeyError if `made` lacks one."""
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
