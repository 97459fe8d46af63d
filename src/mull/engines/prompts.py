"""Prompt formats: how a trace becomes what a language model is shown, and what ends a step.

A format is either *text* (one string, for a completions endpoint) or *chat* (messages, for a
chat endpoint: the server applies the model's own template, nothing is flattened here). It
also holds the step rule, so what a step is depends on the prompt that asks for steps and on
no algorithm, and the marks that tell a thinking model's reasoning from its solution.
The module only writes and cuts text; it never calls a model or counts tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from mull.errors import MullError
from mull.trace import ThinkingBudget, Trace


@dataclass(frozen=True)
class StepRule:
    """What ends a step: one of ``ends``, which stays at the step's end.

    With ``before`` an end counts only where that text follows; it begins the next step.
    A step holds more than white space: an end after white space alone ends nothing.
    """

    name: str
    ends: tuple[str, ...]
    before: str = ""

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts at which sampling one step stops; each is an end and what must follow it."""
        return tuple(end + self.before for end in self.ends)

    def end(self, text: str) -> int | None:
        """Where the step that begins ``text`` ends, None if it does not end in there."""
        start = len(text) - len(text.lstrip())
        found = [
            at + len(end) for end in self.ends if (at := _find(text, end + self.before, start)) is not None
        ]
        return min(found, default=None)

    def ended(self, text: str) -> bool:
        """Whether the step that begins ``text`` ends in there."""
        return self.end(text) is not None

    def steps(self, text: str) -> list[str]:
        """The text cut into steps; an unended rest is one too, unless it is white space alone."""
        found = []
        while (at := self.end(text)) is not None:
            found.append(text[:at])
            text = text[at:]
        return [*found, text] if text.strip() else found


def _find(text: str, wanted: str, start: int) -> int | None:
    at = text.find(wanted, start)
    return None if at < 0 else at


#: The step conventions of this field, by name.
RULES: Mapping[str, StepRule] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            StepRule("newline", ("\n",)),
            StepRule("blank", ("\n\n",)),
            StepRule("heading", ("\n",), before="## Step"),
            StepRule("sentence", (". ", "! ", "? ", "\n")),
        )
    }
)

REVISE = (
    "Look at your solution above once more. If a step of it is wrong, find the first such step; "
    "then write a full solution again, from the beginning, in the same form."
)


@dataclass(frozen=True)
class Marks:
    """What stands around a thinking model's reasoning, and the text that makes it go on."""

    open: str = "<think>"
    close: str = "</think>"
    wait: str = "Wait"

    @classmethod
    def named(cls, text: str) -> Marks:
        """From ``OPEN...CLOSE``, such as ``<think>...</think>``; :class:`MullError` for anything else."""
        opened, between, closed = text.partition("...")
        if not (opened.strip() and between and closed.strip()):
            raise MullError(f"thinking is {text!r}; it must be the marks, such as '<think>...</think>'")
        return cls(opened.strip(), closed.strip())

    def shown(self, text: str) -> str:
        """A closed thinking as it stands before the solution."""
        return f"{self.open}{text}{self.close}\n\n"

    def split(self, text: str, *, unclosed: bool = False) -> tuple[str | None, str]:
        """The thinking in an answer (None: there is none) and the solution after it.

        The opening mark may be missing: some chat templates have it in the prompt. With ``unclosed`` an
        answer without any mark is all thinking, as one is that opens and never closes.
        """
        begins = text.lstrip().startswith(self.open)
        at = text.find(self.close)
        if at < 0:
            return (text.lstrip().removeprefix(self.open), "") if begins or unclosed else (None, text)
        said = text[:at].lstrip().removeprefix(self.open) if begins else text[:at]
        return said, text[at + len(self.close) :].lstrip()

    def stretch(self, text: str) -> tuple[str, bool]:
        """What of an answer that goes on thinking is thinking, and whether the model closed it."""
        said, closed, _ = text.partition(self.close)
        return said, bool(closed)

    def closed(self, text: str) -> bool:
        """Whether a text closes the thinking that it goes on with."""
        return self.close in text

    def held_back(self, text: str) -> str:
        """A thinking that was about to end, made to go on."""
        return text + ("" if text[-1:].isspace() or not text else "\n") + self.wait


@dataclass(frozen=True)
class Message:
    """One message of a chat: its role ("system", "user" or "assistant") and its text."""

    role: str
    content: str


@dataclass(frozen=True)
class Prompt:
    """What a model is shown: ``text`` or ``messages`` (a chat), and the solution ``so_far``."""

    text: str = ""
    messages: tuple[Message, ...] = ()
    so_far: str = ""


@dataclass(frozen=True)
class Format:
    """A way of asking. Texts hold ``{problem}`` where the problem's prompt goes.

    - ``rule``: what ends a step;
    - ``ask``: the text prompt, or the user's message;
    - ``system``: a system message (chat only; "" sends none);
    - ``shots``: worked examples, as (problem's prompt, solution), shown first;
    - ``stops``: texts that end the solution (dropped from it), for models that do not stop;
    - ``close``: what stands after a finished solution in a text prompt, such as the end token's text;
    - ``revise``: the user's message after each earlier attempt (chat only);
    - ``marks``: what stands around a thinking model's reasoning;
    - ``thinks``: whether the model is one. Only then its thinking can be held to a budget, or a
      step search go on after it; a chat model that thinks unasked has its thinking set apart anyway;
    - ``budget``: how long it thinks where a strategy does not say; None: as it likes, within
      a solution's limit.

    A revision (a trace with ``earlier`` attempts) is shown in a text format as the prompt and
    then every attempt, each closed by ``close``; in a chat as turns: the problem, an attempt as
    the assistant's, ``revise`` as the user's, and so on.
    """

    name: str
    chat: bool
    rule: StepRule
    ask: str = "{problem}"
    system: str = ""
    shots: tuple[tuple[str, str], ...] = ()
    stops: tuple[str, ...] = ()
    close: str = ""
    revise: str = REVISE
    marks: Marks = Marks()
    thinks: bool = False
    budget: ThinkingBudget | None = None

    def __post_init__(self) -> None:
        if "{problem}" not in self.ask:
            raise MullError(f"prompt format {self.name!r}: 'ask' must hold {{problem}}")
        if self.system and not self.chat:
            raise MullError(f"prompt format {self.name!r}: a text format has no system message; use 'ask'")
        if self.budget is not None and not self.thinks:
            raise MullError("a thinking budget is for a thinking model: name its marks with 'thinking'")

    def prompt(self, trace: Trace) -> Prompt:
        """What is shown to continue a trace; :class:`MullError` for a revision without ``close``."""
        thought = "" if trace.thinking is None else self.marks.shown(trace.thinking.text)
        if self.chat:
            return Prompt(messages=tuple(self._messages(trace)), so_far=thought + trace.text)
        if trace.earlier and not self.close:
            raise MullError(
                f"prompt format {self.name!r} cannot show earlier attempts: set 'close' to the text of "
                "the model's end token"
            )
        shots = "".join(f"{self._asked(given)}{solution}{self.close}\n\n" for given, solution in self.shots)
        earlier = "".join(text + self.close for text in trace.earlier)
        return Prompt(text=shots + self._asked(trace.problem.prompt) + earlier, so_far=thought + trace.text)

    def _messages(self, trace: Trace) -> list[Message]:
        found = [Message("system", self.system)] if self.system else []
        for given, solution in self.shots:
            found += [Message("user", self._asked(given)), Message("assistant", solution)]
        found.append(Message("user", self._asked(trace.problem.prompt)))
        for text in trace.earlier:
            found += [Message("assistant", text), Message("user", self.revise)]
        return found

    def _asked(self, prompt: str) -> str:
        return self.ask.replace("{problem}", prompt)


_IN_STEPS = (
    "Solve the problem step by step. Begin every step with a line '## Step k: what is done', where k counts "
    "from 1, and leave a blank line between steps. End with one line: 'The final answer is \\boxed{...}'."
)
#: Formats by name: the small world's, and a plain one and one in steps for chat models.
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        each.name: each
        for each in (
            Format("text", chat=False, rule=RULES["newline"], close="</s>"),
            Format("chat", chat=True, rule=RULES["blank"]),
            Format("chat-steps", chat=True, rule=RULES["heading"], system=_IN_STEPS),
        )
    }
)


def shots(file: Path) -> tuple[tuple[str, str], ...]:
    """Worked examples for :class:`Format`, from JSON lines with texts ``prompt`` and ``solution``."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MullError(f"cannot read the worked examples in {file}: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise MullError(f"{file}, line {number}: not JSON ({error.msg})") from None
        pair = [row.get(name) for name in ("prompt", "solution")] if isinstance(row, dict) else []
        if len(pair) != 2 or not all(isinstance(text, str) and text.strip() for text in pair):
            raise MullError(f"{file}, line {number}: needs an object with texts 'prompt' and 'solution'")
        found.append((str(pair[0]), str(pair[1])))
    if not found:
        raise MullError(f"there are no worked examples in {file}")
    return tuple(found)


def format_named(name: str, steps: str | None = None) -> Format:
    """A format by name, with another step rule if one is named; :class:`MullError` for unknown names."""
    if name not in FORMATS:
        raise MullError(f"there is no prompt format {name!r}; there are {', '.join(FORMATS)}")
    if steps is None:
        return FORMATS[name]
    if steps not in RULES:
        raise MullError(f"there is no step rule {steps!r}; there are {', '.join(RULES)}")
    return replace(FORMATS[name], rule=RULES[steps])
