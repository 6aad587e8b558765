"""Generated parts of documents: what follows a mark, up to the next empty line, is replaced by what was made anew."""

import re
from collections.abc import Mapping

MARK = "<!-- {name}: made by python -m {module} -->"
_BELOW = re.compile(r"\A([^\n]+\n)*")


def replaced(text: str, made: Mapping[str, str], module: str) -> str:
    """The document with the part below each mark of `module` replaced; KeyError if a mark names no part."""
    for name in re.findall(rf"<!-- ([^:\n]+): made by python -m {re.escape(module)} -->", text):
        mark = MARK.format(name=name, module=module) + "\n"
        before, after = text.split(mark)
        text = f"{before}{mark}{made[name].rstrip()}\n{_BELOW.sub('', after, count=1)}"
    return text


def without_marks(text: str) -> str:
    """The document without its marks, for readers."""
    return re.sub(r"<!-- [^:\n]+: made by python -m [^\n]+ -->\n", "", text)
