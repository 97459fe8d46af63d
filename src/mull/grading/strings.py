r"""String rules of two published graders, for comparisons that must come out as theirs do.

``hendrycks`` is how the MATH release (Hendrycks et al. 2021) makes answers comparable,
``prm800k`` what the PRM800K grader (Lightman et al. 2023) does on top. Both are rules on
characters, blind spots included: they are kept because results published with them depend
on them. Written from their behaviour; nothing here knows any mathematics.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial

_WHOLE_TEXT = re.compile(r"\\text\{(.+?)\}", re.DOTALL)
_GONE = ("\n", r"\!"), (r"\left", r"\right", r"^{\circ}", r"^\circ", r"\$")
_BARE_FRACTION = re.compile(r"\\frac([^{])(\{|.)")
_BARE_ROOT = re.compile(r"\\sqrt([^{])")
_PLAIN_FRACTION = re.compile(r"(-?(?:0|[1-9]\d*))/(-?(?:0|[1-9]\d*))")

_UNITS = (
    "degree", "cm", "centimeter", "meter", "mile", "second", "minute", "hour",
    "day", "week", "month", "year", "foot", "feet", "inch", "yard",
)  # fmt: skip
_UNIT = [re.compile(rf"{unit}(?:es)?s? *(?:\^[0-9]+)?") for unit in _UNITS]
_MAGNITUDES = (("million", "*10^6"), ("billion", "*10^9"), ("trillion", "*10^12"))
_COMMA = re.compile(r"(\d),(\d{3})(?!\d)")
#: What Python takes for a number, "204_5" included: so does the grader.
_FLOAT = re.compile(r"[+-]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE)

_TOKEN = re.compile(r"\\([A-Za-z]+) *|\\(.)|([{}])|(\[)|([^\\{}\[]+)", re.DOTALL)
_SIGNS = {
    "pi": "pi", "infty": "inf", "cup": "u", "cdot": "*", "times": "*", "pm": "±", "mp": "∓", "le": "≤",
    "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "in": "∈", "cap": "∩", "emptyset": "∅",
    "ldots": "…", "dots": "…", "cdots": "⋯", "approx": "≈", "circ": "∘", "alpha": "α", "beta": "β",
    "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "theta": "θ", "lambda": "λ", "mu": "μ", "omega": "ω",
    "phi": "ϕ", "rho": "ρ", "sigma": "σ", "tau": "τ", "ell": "ℓ", "lfloor": "⌊", "rfloor": "⌋",
    "lceil": "⌈", "rceil": "⌉", "angle": "∠", "triangle": "△", "to": "→", "rightarrow": "→",
    "psi": "ψ", "varphi": "φ", "xi": "ξ", "eta": "η", "zeta": "ζ", "chi": "χ", "kappa": "κ", "nu": "ν",
    "sum": "∑", "prod": "∏", "int": "∫", "square": "□", "quad": " ", "qquad": " ",
    "setminus": "\\", "equiv": "≡", "prime": "′", "mid": "|",
}  # fmt: skip
_FUNCTIONS = {"sin", "cos", "tan", "arcsin", "arccos", "arctan", "log", "ln", "exp"} | {
    "max", "min", "gcd", "det", "lim", "deg", "arg", "sinh", "cosh", "tanh",
}  # fmt: skip
_SPACES = {",": " ", ";": " ", ":": " ", " ": " ", "!": "", "\n": " "}


@lru_cache(maxsize=8192)
def hendrycks(text: str) -> str:
    """The string under which two answers are compared by the MATH release."""
    text = text.strip()
    if whole := _WHOLE_TEXT.fullmatch(text):
        text = whole[1].strip()
    plain = text
    for gone in _GONE[0]:
        text = text.replace(gone, "")
    text = text.replace("\\\\", "\\").replace("tfrac", "frac").replace("dfrac", "frac")
    for gone in _GONE[1]:
        text = text.replace(gone, "")
    value, *unit = text.split(r"\text{ ")
    if len(unit) > 1:
        return plain
    text = value.replace(r"\%", "").replace(" .", " 0.").replace("{.", "{0.")
    if text.startswith("."):
        text = f"0{text}"
    name, *rest = text.split("=")
    if len(rest) == 1 and len(name) <= 2:
        text = rest[0]
    if re.search(r"\\(?:frac|sqrt)$", text):
        return plain
    text = _BARE_ROOT.sub(r"\\sqrt{\1}", text).replace(" ", "")
    text = _BARE_FRACTION.sub(lambda m: rf"\frac{{{m[1]}}}{'{' if m[2] == '{' else f'{{{m[2]}}}'}", text)
    if text == "0.5":
        return r"\frac{1}{2}"
    return _PLAIN_FRACTION.sub(r"\\frac{\1}{\2}", text) if _PLAIN_FRACTION.fullmatch(text) else text


@lru_cache(maxsize=8192)
def prm800k(text: str) -> str:
    """The string that the PRM800K grader splits into items and compares, without spaces or capitals."""
    if whole := _WHOLE_TEXT.fullmatch(text):
        text = whole[1]
    for sign in (r"\%", r"\$", "$", "%"):
        text = text.replace(sign, "")
    text = text.replace(" or ", " , ").replace(" and ", " , ")
    for word, power in _MAGNITUDES:
        text = text.replace(word, power)
    for unit in _UNIT:
        text = unit.sub("", text)
    text = re.sub(r"\^ *\\circ", "", text)
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    text = re.sub(r",\\! *", "", text)
    text = integer(text) or text
    if "\\" in text:
        text = _flat(text).strip()
    text = re.sub(r"- *", "-", text)
    text = re.sub(r"([0-9]) +([0-9])", r"\1+\2", text)
    text = re.sub(r"[ {}]", "", text).lower()
    return integer(text) or text


def integer(text: str) -> str | None:
    """The integer that a string writes, perhaps as a decimal, None if it writes none."""
    text = without_thousands(text).strip()
    if len(text) > 300 or not _FLOAT.fullmatch(text):
        return None
    value = float(text)
    if abs(value) > 1e300 or abs(value - round(value)) > 1e-7:
        return None
    return str(round(value))


def without_thousands(text: str) -> str:
    """The text without the commas that stand between a digit and three digits."""
    while (shorter := _COMMA.sub(r"\1\2", text)) != text:
        text = shorter
    return text


def evaluable(text: str) -> bool:
    """Whether the PRM800K grader gets a value out of a string: it states nothing, its powers are small."""
    return not re.search(r"[=<>≤≥≠≈∈±∓∪:;…]|\^[{(]|\^[0-9]+\^|\^[0-9]{2}", text)


def multiplied(text: str) -> str:
    """The string with its products written out, as they are read: 1/2k is (1/2)k."""
    return re.sub(r"(?<=[0-9)])(?=[A-Za-z(])", "*", text)


def _flat(text: str) -> str:
    """LaTeX as one line of characters: ``\\frac{a}{b}`` is "a/b", ``\\sqrt{a}`` is "sqrt(a)"."""
    text = re.sub(r"\\[td]?frac", r" \\frac", text)
    tokens = [match.groups() for match in _TOKEN.finditer(text)]
    return _Flattener(tokens).run()


class _Flattener:
    """Reads tokens from left to right; commands take their arguments from what follows."""

    def __init__(self, tokens: list[tuple[str | None, ...]]) -> None:
        self.tokens, self.at, self.depth, self.matrix = tokens, 0, 0, False

    def run(self, until: str | None = None) -> str:
        """Everything up to a closing sign, or to the end."""
        found: list[str] = []
        while self.at < len(self.tokens):
            command, sign, brace, bracket, plain = self.tokens[self.at]
            if brace == "}" and until == "}":
                self.at += 1
                break
            if until == "]" and plain is not None and "]" in plain:
                head, _, tail = plain.partition("]")
                self.tokens[self.at] = (None, None, None, None, tail)
                return "".join([*found, head])
            self.at += 1
            found.append(self._one(command, sign, brace, bracket, plain))
        return "".join(found)

    def _one(self, command: str | None, sign: str | None, brace: str | None, *rest: str | None) -> str:
        if command is not None:
            return self._command(command)
        if sign == "\\":
            return ";" if self.matrix else "\n"
        if sign is not None:
            return _SPACES.get(sign, sign if sign in "{}%$#&_|" else "")
        if brace == "{":
            return self._nested(partial(self.run, "}"))
        return "".join(filter(None, rest)).replace("&", " ")

    def _command(self, name: str) -> str:
        if name == "frac":
            above = self._argument()
            return f"{above}/{self._argument()}"
        if name == "sqrt":
            self._optional()
            return f"sqrt({self._argument()})"
        if name in ("begin", "end"):
            kind = self._argument()
            matrix = kind.endswith(("matrix", "array"))
            if kind == "array" and name == "begin":
                self._argument()
            self.matrix = matrix and name == "begin"
            return ("[" if name == "begin" else "]") if matrix else ""
        if name in _FUNCTIONS:
            return name
        return _SIGNS.get(name, "")

    def _argument(self) -> str:
        """A group in braces, a command with its arguments, or a single sign."""
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            plain = token[4]
            if plain is None:
                self.at += 1
                return self._nested(partial(self._one, *token))
            sign = plain.lstrip()
            if not sign:
                self.at += 1
                continue
            self.tokens[self.at] = (None, None, None, None, sign[1:])
            return sign[0]
        return ""

    def _optional(self) -> None:
        """An optional argument in square brackets, left out of the result."""
        if self.at < len(self.tokens) and self.tokens[self.at][3] is not None:
            self.at += 1
            self.run("]")

    def _nested(self, inner: Callable[[], str]) -> str:
        """What is inside, unless that is nested too deep to be an answer."""
        self.depth += 1
        found = inner() if self.depth < 40 else ""
        self.depth -= 1
        return found
