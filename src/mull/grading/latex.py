r"""Cleaning an answer's LaTeX: one spelling for what is only typography.

``clean`` takes off wrappers (``$...$``, ``\boxed{...}``, bold), spacing and sizing commands,
and gives fractions, roots, powers and relation signs one spelling. The rest is scanning:
brackets that match, splitting at the top level. Linear in the text's length; it never
computes and never changes what an answer means.
"""

from __future__ import annotations

import re
from functools import lru_cache

OPENERS, CLOSERS = "([{", ")]}"

_UNICODE = str.maketrans(
    {
        "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "\ufeff": "",
        "−": "-", "–": "-", "‐": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/",
        "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∈": r"\in ", "±": r"\pm ",
        "∪": r"\cup ", "∩": r"\cap ", "∞": r"\infty ", "π": r"\pi ", "∅": r"\emptyset ",
        "°": r"^\circ ", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
        "∶": ":", "％": "%", "，": ",", "（": "(", "）": ")", "“": '"', "”": '"', "’": "'",
    }
)  # fmt: skip
_SUPERSCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
_PLAIN_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_ROOT = re.compile(r"√\s*(\d+|[A-Za-z]|\()")

#: A command with the white space that belongs to it, or a command of one sign.
_COMMAND = re.compile(r"\\(?:(left|right)\s*\.|([A-Za-z]+)|([^A-Za-z]))")
_DROPPED = {
    "left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "displaystyle",
    "textstyle", "scriptstyle", "boxed", "fbox", "limits", "nolimits", "mathstrut", "rm", "bf", "it",
}  # fmt: skip
_SIGNS = dict.fromkeys(" ,:;>\n", " ") | {sign: sign for sign in "%$#-0123456789"} | {"!": ""}
_SPACES = {"quad", "qquad", "enspace", "thinspace", "space", "hfill", "newline"}
_SAME = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le", "geq": "ge", "leqslant": "le",
    "geqslant": "ge", "neq": "ne", "varnothing": "emptyset", "dbinom": "binom", "tbinom": "binom",
    "textbf": "text", "textit": "text", "textrm": "text", "textnormal": "text", "mbox": "text",
    "mathrm": "text", "hbox": "text", "mathbf": "text", "mathit": "text", "operatorname": "text",
    "textsf": "text", "texttt": "text", "bm": "text", "boldsymbol": "text", "dots": "ldots",
    "cdots": "ldots", "degree": "^\\circ ", "ast": "cdot", "rightarrow": "to",
    "lbrace": "\\{", "rbrace": "\\}", "lt": "<", "gt": ">", "percent": "%", "implies": "Rightarrow",
    "colon": ":", "lbrack": "[", "rbrack": "]", "lparen": "(", "rparen": ")",
}  # fmt: skip
_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"))
_BRACED = re.compile(r"\\(?:boxed|fbox|text|textbf|textit|textrm|textnormal|mbox|mathrm|mathbf|mathit)\s*\{")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z])")
_GROUPED = re.compile(r"(?<=\d)(?:\{\s*,\s*\}|,\s*\\!\s*|\\,|\\;|\\!)\s*(?=\d{3}(?!\d))")
_FRACTION = re.compile(r"\\frac\s*(?:(\d)\s*(\d)|(\d)\s*(?=\{)|([A-Za-z])\s*(\d|[A-Za-z])(?![A-Za-z]))")
_HALF_FRACTION = re.compile(r"(\\frac\s*\{[^{}]*\})\s*(\d|[A-Za-z])")
_BARE_ROOT = re.compile(r"\\sqrt\s*(\d|[A-Za-z])(?![A-Za-z])")
_BRACED_SIGN = re.compile(r"([\^_])\s*\{\s*(\w|\\circ)\s*\}")
_SPACE = re.compile(r"\s+")
_IDLE_SPACE = re.compile(r"(?<=[{^_]) | (?=[}^_])|(?<=\}) (?=\{)")
_LETTER_AFTER = re.compile(r"(\\[A-Za-z]+) (?![A-Za-z])")
_TYPED = [
    (re.compile(r"(?<!\\)\*"), r"\\cdot "),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"!="), r"\\ne "),
    (re.compile(r"(?<![A-Za-z\\])pi(?![a-z])|(?<=\d)pi"), r"\\pi "),
    (re.compile(r"(?<![A-Za-z\\])inf(?:ty|inity)?(?![A-Za-z])"), r"\\infty "),
    (re.compile(r"(?<![A-Za-z\\])(sin|cos|tan|log|ln|exp)(?![a-z])"), r"\\\1 "),
    (re.compile(r"\^(-?\d{2,}|-\d)"), r"^{\1}"),
]


@lru_cache(maxsize=8192)
def clean(text: str) -> str:
    """The answer without wrappers and spacing, in one spelling; single spaces between words stay."""
    text = _unboxed(unwrapped(text.translate(_UNICODE).replace("\0", "")))
    text = _SUPERSCRIPTS.sub(lambda m: "^{" + m[0].translate(_PLAIN_DIGITS) + "}", text)
    text = _ROOT.sub(lambda m: r"\sqrt{" + m[1] + "}" if m[1] != "(" else "sqrt(", text)
    text = _GROUPED.sub("", text)
    if "\\" in text:
        if "&" not in text and r"\begin" not in text:
            text = _DOUBLED.sub(r"\\", text)  # escaped twice, as in JSON read by eye
        text = _COMMAND.sub(_command, text)
        text = _FRACTION.sub(_braced_fraction, text)
        text = _HALF_FRACTION.sub(r"\1{\2}", text)
        text = _BARE_ROOT.sub(r"\\sqrt{\1}", text)
    text = _BRACED_SIGN.sub(r"\1\2", text)
    text = _IDLE_SPACE.sub("", _LETTER_AFTER.sub(r"\1", _SPACE.sub(" ", text)))
    return unwrapped(text)


def unwrapped(text: str) -> str:
    """The text without the wrappers that go around all of it, and without a full stop at its end."""
    for _ in range(12):
        before = text
        text = text.strip()
        if text.endswith(("\\", ";", ",", ".")) and not text.endswith(("\\\\", "..", "right.")):
            text = text[:-1].rstrip()
        for opener, closer in _WRAPPERS:
            inner = text[len(opener) : -len(closer)]
            if text.startswith(opener) and text.endswith(closer) and inner and closer not in inner:
                text = inner
        if (braced := _BRACED.match(text)) and matching(text, braced.end() - 1) == len(text) - 1:
            text = text[braced.end() : -1]
        if text.startswith("{") and matching(text, 0) == len(text) - 1:
            text = text[1:-1]
        if text == before:
            break
    return text


def _unboxed(text: str) -> str:
    """The text with every box replaced by its content, boxes side by side by a list."""
    for _ in range(20):
        box = _BOX.search(text)
        end = matching(text, box.end() - 1) if box else -1
        if box is None or end < 0:
            break
        rest = text[end + 1 :]
        comma = ", " if _BOX.match(rest.lstrip()) else ""
        text = f"{text[: box.start()]}{text[box.end() : end]}{comma}{rest}"
    return text


def matching(text: str, start: int) -> int:
    """Where the brace opened at ``start`` closes, -1 if nowhere; escaped braces do not count."""
    depth, i = 0, start
    while i < len(text):
        sign = text[i]
        if sign == "\\":
            i += 1
        elif sign == "{":
            depth += 1
        elif sign == "}":
            depth -= 1
            if depth == 0:
                return i
        i += 1
    return -1


def split(text: str, separator: str) -> list[str]:
    """The pieces between separators (one character) that stand outside all brackets."""
    pieces, depth, start = [], 0, 0
    for i, sign in enumerate(text):
        if sign in OPENERS:
            depth += 1
        elif sign in CLOSERS:
            depth = max(0, depth - 1)
        elif sign == separator and depth == 0:
            pieces.append(text[start:i].strip())
            start = i + 1
    return [*pieces, text[start:].strip()]


def bracketed(text: str) -> tuple[str, str, str] | None:
    r"""Opening, inside and closing, if one pair of brackets goes around all of the text.

    ``\{`` and ``\}`` are brackets here, and the two need not be of a kind, as in ``[0, 1)``.
    """
    opener = next((o for o in (r"\{", "(", "[") if text.startswith(o)), None)
    closer = next((c for c in (r"\}", ")", "]") if text.endswith(c)), None)
    if opener is None or closer is None or len(text) < len(opener) + len(closer):
        return None
    depth = 0
    for i, sign in enumerate(text):
        if sign in OPENERS:
            depth += 1
        elif sign in CLOSERS:
            depth -= 1
            if depth == 0 and i < len(text) - 1:
                return None
    return (opener, text[len(opener) : -len(closer)].strip(), closer) if depth == 0 else None


def squeezed(text: str) -> str:
    """The text without white space and without signs for a product that juxtaposition says as well."""
    return re.sub(r"\s+|\\cdot(?=[\s\\A-Za-z(])|\\times(?=[\s\\A-Za-z(])|\*(?=[\\A-Za-z(])", "", text)


def typeset(text: str) -> str:
    """The answer as LaTeX, where it may be written as one types it: ``sqrt(2)/2``, ``x**2``, ``2*pi``."""
    text = text.replace("**", "^").translate(_UNICODE)
    for typed, command in _TYPED:
        text = typed.sub(command, text)
    while (root := text.find("sqrt(")) >= 0 and text[root - 1 : root] != "\\":
        depth, end = 0, -1
        for i in range(root + 4, len(text)):
            depth += (text[i] == "(") - (text[i] == ")")
            if depth == 0:
                end = i
                break
        if end < 0:
            break
        text = f"{text[:root]}\\sqrt{{{text[root + 5 : end]}}}{text[end + 1 :]}"
    return text


def _command(match: re.Match[str]) -> str:
    """One spelling for a command."""
    if match[1] or match[2] in _DROPPED:
        return ""
    if match[3]:
        return _SIGNS.get(match[3], match[0])
    if match[2] in _SPACES:
        return " "
    name = _SAME.get(match[2], match[2])
    return f"\\{name} " if name.isalpha() else name


def _braced_fraction(match: re.Match[str]) -> str:
    """``\\frac12`` with its braces."""
    if match[1]:
        return rf"\frac{{{match[1]}}}{{{match[2]}}}"
    if match[3]:
        return rf"\frac{{{match[3]}}}"
    return rf"\frac{{{match[4]}}}{{{match[5]}}}"
