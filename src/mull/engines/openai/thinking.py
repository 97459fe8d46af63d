"""A thinking model's reasoning over HTTP: held to a budget, or told from an answer that has both.

Budget forcing (Muennighoff et al. 2025, s1): the model thinks until it closes its thinking or the
budget is spent; where its end is to be held back, the wait text takes the end's place and it goes on.
What is closed here stands before the solution in later requests. The module samples no solution.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from mull.cost import Cost
from mull.engines.openai.reply import Choice, Reply, Usage
from mull.engines.prompts import Format, Marks
from mull.trace import Thinking, ThinkingBudget

#: Asks for the next stretch: the text so far, its token limit, and the number of the request.
Ask = Callable[[str, int, int], Awaitable[Reply]]
#: What an answer cost, from its usage and its sampled tokens.
Price = Callable[[Reply], tuple[Cost, int]]


@dataclass(frozen=True)
class Thought:
    """A finished thinking, what it cost, and the tokens that it took of its budget."""

    thinking: Thinking
    cost: Cost
    spent: int


async def think(ask: Ask, price: Price, marks: Marks, budget: ThinkingBudget) -> Thought:
    """Let the model think within ``budget``; whatever ``ask`` raises goes through."""
    text, cost, spent, waits, asked = "\n", Cost(), 0, 0, 0
    counted: int | None = 0
    cut = False
    while True:
        found = await ask(marks.open + text, budget.tokens - spent, asked)
        asked += 1
        more, sampled = price(found)
        cost, spent = cost + more, spent + sampled
        choice = found.choices[0]
        said, closed = marks.stretch(choice.text)
        text += said
        # An answer that ran on past the end holds tokens that are no thinking.
        own = sampled if choice.text[len(said) + len(marks.close) :] == "" else _ends(choice, marks)
        counted = None if counted is None or own is None else counted + own
        if not closed and choice.finish == "length":
            cut = True
            break
        if waits == budget.waits or spent >= budget.tokens:
            break
        waits += 1
        text = marks.held_back(text)
    if not text.endswith("\n"):
        text += "\n"
    return Thought(Thinking(text, counted, waits, cut), cost, spent)


def split(choice: Choice, form: Format, usage: Usage | None) -> tuple[Choice, Thinking | None]:
    """An answer to a fresh request as the solution and what was thought before it.

    Thinking is in a field of its own, or in the text before the closing mark. Of several choices the
    ``usage`` is no help and to be given as None.
    """
    if not (form.chat or form.thinks):
        return choice, None
    told = usage.thinking if usage is not None else None
    if choice.thinking:
        rest = replace(choice, text=choice.text.lstrip(), thinking="")
        tokens = _ends(choice, form.marks) if choice.text else len(choice.pieces) or None
        return _rest(rest, form.marks), Thinking(choice.thinking, tokens if told is None else told)
    said, solution = form.marks.split(choice.text, unclosed=form.thinks and choice.finish == "length")
    if said is None:
        return choice, None
    closed = form.marks.close in choice.text
    tokens = _ends(choice, form.marks) if closed else len(choice.pieces) or None
    if tokens is None and usage is not None and not closed:
        tokens = usage.completion
    rest = replace(choice, text=solution)
    rest = _rest(rest, form.marks) if closed else replace(rest, pieces=())
    return rest, Thinking(said, tokens if told is None else told)


def _ends(choice: Choice, marks: Marks) -> int | None:
    """The number of sampled pieces up to the closing mark, None if they do not tell."""
    mark, spelt = marks.close.encode(), b""
    for number, piece in enumerate(choice.pieces, 1):
        spelt += piece.spells
        if mark in spelt:
            return number
    return None


def _rest(choice: Choice, marks: Marks) -> Choice:
    """The solution with the pieces that spell it: those after the mark, without white space at first."""
    at = _ends(choice, marks)
    if at is None:
        return replace(choice, pieces=())
    while at < len(choice.pieces) and choice.pieces[at].spells and not choice.pieces[at].spells.strip():
        at += 1
    return replace(choice, pieces=choice.pieces[at:])
