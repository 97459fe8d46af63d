"""What a grader is asked to decide, as named settings, and the presets that answer them.

Graders of mathematics disagree less about mathematics than about policy: whether 10 % is 10,
whether an unreduced fraction is right, whether the order of a list matters. Each such question
is one field of :class:`Settings`; a preset is one set of answers, and a grader
(:class:`mull.answers.Grader`) as it is. This module decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Literal, get_args, get_type_hints

from mull.errors import MullError
from mull.problems import Problem

Notation = Literal["latex", "plain"]


@dataclass(frozen=True)
class Settings:
    r"""The questions graders disagree on, and one answer to each.

    How far equality is followed, and what is read:

    - ``reach``: "text" stops at equal spellings, "form" at equal normal forms (numbers, words,
      lists, intervals), "symbolic" asks ``math-verify`` about what is left.
    - ``reads``: the two sides are an "answer" each, or a "text" with an answer somewhere in it;
      a text is left to ``math-verify``'s own extraction, which looks for the ``notations``.
    - ``spelling``: which rules make a text comparable as a string. "verbatim" only joins runs
      of white space; "mull" takes off LaTeX's wrappers and spacing; "hendrycks" is the rules of
      the MATH release (Hendrycks et al. 2021); "prm800k" those and then the ones of the
      PRM800K grader (Lightman et al. 2023).

    Policy, where two forms are compared:

    - ``order``: a list without brackets is a set ("free"), or its order counts ("kept").
    - ``brackets``: "kinds" tells tuples and open intervals, closed intervals, and sets apart, a
      bare list being a set; "literal" wants the very same brackets; "loose" lets a bare list or
      a set stand for a tuple of the same items in order.
    - ``percent``: 10 % is 10 ("ignored"), is 0.1 ("value"), is either ("either"), or only
      another percentage is like it ("kept").
    - ``relative``, ``decimals``: where a side is written as a decimal, numbers within this share
      of the larger are equal (5e-6: six digits, rounded), or both are rounded to this many
      places first. 0 and None compare exactly. Numbers without a decimal point always do.
    - ``units``: units, ordinals, degrees and currency after or before a number are "ignored"
      or "kept".
    - ``bases``: without its base 204_5 is 204 ("digits"), or always the number it means
      ("value").
    - ``fractions``: of two fractions only the "value" counts, or "literal": they must be
      written alike, so that an unreduced one is wrong.
    - ``integers``: "value", or "literal": where exactly one side is written as an integer they
      differ, so that 2^2 is not 4.
    - ``mixed``: ``1\frac{1}{2}`` is the "mixed" number 3/2 or the "product" 1/2.
    - ``comma``: between digits a comma ("1,22") is "thousands" or a list, or may be a
      "decimal" comma where it cannot be thousands.
    - ``case``: of words, "folded" or "kept". A single letter's case always counts, but for
      ``spelling="prm800k"``, which has none.
    - ``assignments``: ``x = 5`` is 5 ("unwrapped"), or an equation ("kept").
    - ``relations``: ``2 < x < 3`` and ``x \in (2, 3)`` are the interval ("sets"), are so only
      where they are the gold answer ("gold"), or never ("kept").
    - ``variables``: their names count ("named") or may be changed ("renamed").
    - ``letters``: with more different letters than this nothing is compared symbolically.
    - ``symmetric``: which side is gold makes no difference.

    What bounds it:

    - ``longest``: an answer of more characters is compared as text alone, white space joined,
      and is never sent to ``math-verify``.
    - ``missing``: what happens where ``math-verify`` is needed and not installed: an "error"
      that names the extra, or the "form" decides.

    And where a solution's text has its answer:

    - ``conventions``: those of :data:`mull.grading.extract.CONVENTIONS`, in order; none: the
      whole text is the answer.

    Raises :class:`MullError` for a value that no question knows.
    """

    reach: Literal["text", "form", "symbolic"] = "symbolic"
    reads: Literal["answer", "text"] = "answer"
    notations: tuple[Notation, ...] = ("latex", "plain")
    spelling: Literal["verbatim", "mull", "hendrycks", "prm800k"] = "mull"
    order: Literal["free", "kept"] = "free"
    brackets: Literal["kinds", "literal", "loose"] = "kinds"
    percent: Literal["ignored", "value", "either", "kept"] = "ignored"
    relative: float = 5e-6
    decimals: int | None = None
    units: Literal["ignored", "kept"] = "ignored"
    bases: Literal["digits", "value"] = "digits"
    fractions: Literal["value", "literal"] = "value"
    integers: Literal["value", "literal"] = "value"
    mixed: Literal["mixed", "product"] = "mixed"
    comma: Literal["thousands", "decimal"] = "thousands"
    case: Literal["folded", "kept"] = "folded"
    assignments: Literal["unwrapped", "kept"] = "unwrapped"
    relations: Literal["sets", "gold", "kept"] = "sets"
    variables: Literal["named", "renamed"] = "named"
    letters: int | None = None
    symmetric: bool = True
    longest: int = 1_000
    missing: Literal["error", "form"] = "error"
    conventions: tuple[str, ...] = ("boxed", "hashes", "answer", "is")

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            for one in value if name == "notations" else (value,):
                if one not in allowed:
                    raise MullError(f"grader: {name} = {one!r} is none of {', '.join(map(repr, allowed))}")
        if not self.notations:
            raise MullError("grader: notations is empty; name 'latex', 'plain' or both")
        if self.relative < 0 or self.longest < 1 or (self.decimals is not None and self.decimals < 0):
            raise MullError("grader: relative and decimals must not be negative, longest at least 1")

    def extract(self, text: str) -> str | None:
        """The answer in a solution's text, by the first of the conventions that finds one."""
        from mull.grading.extract import final_answer

        if not self.conventions:
            return text.strip() or None
        return final_answer(text, self.conventions)

    def canonical(
        self, answers: Sequence[str | None], problem: Problem | None = None
    ) -> tuple[str | None, ...]:
        """One problem's answers, each replaced by what stands for all that are equal to it.

        See :func:`mull.grading.classes.classes`, whose errors it raises; ``problem`` is not looked at.
        """
        from mull.grading.classes import classes

        return classes(answers, self).merged

    def correct(self, answer: str | None, gold: str, problem: Problem | None = None) -> bool:
        """Whether an answer equals the gold one (:func:`mull.grading.equal.equal`); none is wrong."""
        from mull.grading.equal import equal

        return bool(equal(gold, answer, self))


def _choices() -> dict[str, tuple[object, ...]]:
    """The allowed values of every field that has a list of them."""
    hints = get_type_hints(Settings)
    found = {field.name: get_args(hints[field.name]) for field in fields(Settings)}
    chosen = {name: args for name, args in found.items() if args and all(isinstance(a, str) for a in args)}
    return chosen | {"notations": get_args(Notation)}


_ALLOWED = _choices()

#: What one would expect of answers in mathematics; the default.
MATH = Settings()

#: The paper's grader (PRM800K, Lightman et al. 2023): a string equality as lenient as MATH's,
#: then tuples item by item, where both-fractions must match literally, exactly one integer is
#: wrong, and anything else is compared symbolically if it has at most two letters.
PRM800K = Settings(
    spelling="prm800k",
    order="kept",
    brackets="literal",
    percent="kept",
    relative=0.0,
    units="kept",
    fractions="literal",
    integers="literal",
    mixed="product",
    assignments="kept",
    relations="kept",
    letters=2,
)

#: String equality under the rules of the MATH release (Hendrycks et al. 2021) and nothing more.
HENDRYCKS = Settings(reach="text", spelling="hendrycks")

#: String equality, white space joined.
EXACT = Settings(reach="text", spelling="verbatim")

#: The cheap normal form alone: numbers, words, lists; nothing is installed or started for it.
FORM = Settings(reach="form")

#: The letter of one of several choices.
CHOICE = Settings(reach="text", spelling="verbatim", conventions=("choice",))

#: math-verify as its own tests use it: it finds the answer in a text itself (this is also the
#: grader of lighteval, open-r1 and TRL).
MATH_VERIFY = Settings(
    reads="text",
    relative=0.0,
    decimals=6,
    percent="either",
    relations="gold",
    symmetric=False,
    longest=50_000,
    conventions=(),
)

#: NeMo-Skills: the default, but words are compared as they are written.
NEMO_SKILLS = Settings(case="kept")

#: The presets by name.
PRESETS: Mapping[str, Settings] = MappingProxyType(
    {
        "math": MATH,
        "prm800k": PRM800K,
        "hendrycks": HENDRYCKS,
        "exact": EXACT,
        "form": FORM,
        "choice": CHOICE,
        "math-verify": MATH_VERIFY,
        "nemo-skills": NEMO_SKILLS,
    }
)


def preset(name: str) -> Settings:
    """The preset of that name; :class:`MullError` names the known ones if there is none."""
    if name not in PRESETS:
        raise MullError(f"there is no grader {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]
