"""Functions and statements of C and C++ sources, read without a compiler. The sources are formatted by clang-format."""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple

SKIPPED = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | ^[ \t]*\#(?:\\\n|[^\n])*""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
CONTROL = re.compile(
    r'(?:(?:if constexpr|if|for|while|switch)\b|else\b|do\b|(?:case\b[^:]*|default|public|private):(?!:))\s*'
)
LVALUE = r'[*(]*[\w.>\])(:-]+(?:\[[^=]*\])?[\w.>-]*'
ACTION = re.compile(  # an assignment, an increment or a call, no declaration
    rf'{LVALUE}\s*(?:[-+*/%|&^]|<<|>>)?=(?!=) | \+\+ | -- | {LVALUE}(?:\+\+|--) | [\w.:>-]+\(', re.VERBOSE
)
NAME = re.compile(r'(operator\s*\(\s*\)|operator\s*\S+?|~?\w+(?:<[\w:, ]*>)?)\s*\(')
FUNCTION = re.compile(  # the end of what stands before a body: parameters, then words or a constructor's initial values
    r'\)\s*(?:const|noexcept|override|->\s*[\w:<>&* ]+|:[^:].*)?\s*$', re.DOTALL
)
OPEN, CLOSE = '([{', ')]}'


class Function(NamedTuple):
    """A function with a body: its name, first line (from 1), number of lines and number of parameters."""

    name: str
    line: int
    lines: int
    parameters: int


def plain(text: str) -> str:
    """Return a source with comments, strings and preprocessor lines replaced by spaces. Lines keep their numbers."""
    return SKIPPED.sub(lambda match: re.sub(r'[^\n]', ' ', match.group()), text)


def _end(text: str, start: int) -> int:
    """Return the place of the bracket that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] in OPEN) - (text[i] in CLOSE)
        if depth == 0:
            return i
    raise ValueError(f'the bracket in line {text.count(chr(10), 0, start) + 1} is never closed')


def split(text: str, separator: str, angles: bool = False) -> list[str]:
    """Return the parts between separators outside of brackets; angles: < and > are brackets too."""
    parts, depth, begin = [], 0, 0
    for i, sign in enumerate(text):
        depth += (sign in OPEN or (angles and sign == '<')) - (sign in CLOSE or (angles and sign == '>'))
        if sign == separator and depth == 0:
            parts.append(text[begin:i])
            begin = i + 1
    return [*parts, text[begin:]]


def _is_function(head: str) -> bool:
    """Return True for what stands before a function's body, False before a type, a namespace or initial values."""
    return bool(FUNCTION.search(head)) and '=' not in re.sub(r'\(.*\)|<.*?>', '', head, flags=re.DOTALL)


def _bodies(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield (start of the head, opening brace, closing brace) of each function's body.

    Namespaces and types are entered. Braces of initial values, and those within parentheses, are passed over.
    """
    begin = i = 0
    while i < len(text):
        if text[i] in '([':
            i = _end(text, i)
        elif text[i] in ';}':
            begin = i + 1
        elif text[i] == '{':
            head = text[begin:i].strip()
            if _is_function(head):
                yield begin + len(text[begin:i]) - len(text[begin:i].lstrip()), i, _end(text, i)
                i = _end(text, i)
                begin = i + 1
            elif re.search(r'\b(?:namespace|struct|class|union|extern)\b', head) and '=' not in head:
                begin = i + 1
            else:
                i = _end(text, i)
        i += 1


def functions(text: str) -> Iterator[Function]:
    """Yield the functions of a source."""
    text = plain(text)
    for begin, opening, closing in _bodies(text):
        match = NAME.search(text, begin, opening)
        assert match, text[begin:opening]
        parameters = text[match.end() : _end(text, match.end() - 1)].strip()
        count = 0 if parameters in ('', 'void') else len(split(parameters, ',', angles=True))
        line = text.count('\n', 0, begin) + 1
        yield Function(match.group(1), line, text.count('\n', begin, closing) + 1, count)


def _without_control(statement: str) -> str:
    """Return a statement without the `if (...)`, `for (...)`, `else` and labels before it."""
    while True:
        match = CONTROL.match(statement)
        if not match:
            return statement
        rest = statement[match.end() :]
        statement = rest[_end(rest, 0) + 1 :].lstrip() if rest.startswith('(') else rest


def joined_statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of expressions that a comma joins to one statement: `a = 1, b = 2;`."""
    text = plain(text)
    for _, opening, closing in _bodies(text):
        begin, depth = opening + 1, 0
        for i in range(opening + 1, closing):
            depth += (text[i] in '([') - (text[i] in ')]')
            if text[i] in ';{}' and depth == 0:
                statement = _without_control(text[begin:i].strip())
                if text[i] == ';' and ACTION.match(statement) and len(split(statement, ',')) > 1:
                    yield text.count('\n', 0, i) + 1, statement
                begin = i + 1
