"""The grader of programs: answers are programs, and those that behave alike are the same answer.

What may be looked at for a vote are the problem's *public* tests: those that a model wrote or the
prompt shows (``meta["tests"]``, a JSON list of assertions), and failing these the examples in the
prompt's docstring. The gold answer is the text of the official tests, and only
:meth:`ProgramGrader.correct` runs it. Everything runs in the sandbox; nothing is run here.
"""

from __future__ import annotations

import ast
import atexit
import doctest
import json
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

from mull.errors import MullError
from mull.execution.limits import Limits
from mull.execution.programs import assemble, entry_point, mbpp_suite, stub, unfenced
from mull.execution.sandbox import Sandbox
from mull.execution.suite import Outcome, Suite
from mull.problems import Problem
from mull.select import tie_rank

#: Outcomes that are kept, by program and suite.
REMEMBERED = 16_384
#: Public tests of a problem that are run at most.
MOST_TESTS = 64

_CHECK = re.compile(r"^def check\(", re.MULTILINE)


class ProgramGrader:
    """Grades programs (:class:`mull.answers.Grader`); its sandbox starts when first needed.

    ``limits`` and ``weak`` are those of :class:`~mull.execution.sandbox.Sandbox`. One program runs at
    a time; any number of threads may ask. Raises :class:`MullError` without a problem, for one that
    names no function or has tests that are not Python, and where the system offers no isolation.
    """

    def __init__(self, limits: Limits | None = None, *, weak: bool = False) -> None:
        self.limits, self.weak = limits or Limits(), weak
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._sandbox: Sandbox | None = None
        self._left: Sandbox | None = None  # kept, so that nothing ends it
        self._known: OrderedDict[bytes, Outcome] = OrderedDict()

    def extract(self, text: str) -> str | None:
        """The whole text: what of it is the program depends on the problem."""
        return text if text.strip() else None

    def canonical(
        self, answers: Sequence[str | None], problem: Problem | None = None
    ) -> tuple[str | None, ...]:
        """Each program as one that does the same on the public tests; None for one that does not load.

        Of the different programs of a behaviour a hash of problem and text draws the one that stands
        for them. Where there are no public tests, equal texts are equal.
        """
        problem = _needed(problem)
        sources = [None if a is None or not a.strip() else program_of(problem, a) for a in answers]
        suite = public_suite(problem)
        kinds: dict[str, object] = {}
        for source in dict.fromkeys(filter(None, sources)):
            outcome = None if suite is None else self.run(source, suite)
            if outcome is None or outcome.loaded:
                kinds[source] = source.split() if outcome is None else outcome.behaviour
        best: dict[str, str] = {}
        for source in sorted(kinds, key=lambda s: (tie_rank(problem.id, s), s)):
            best[repr(kinds[source])] = source
        return tuple(best[repr(kinds[s])] if s is not None and s in kinds else None for s in sources)

    def correct(self, answer: str | None, gold: str, problem: Problem | None = None) -> bool:
        """Whether the program passes the official tests, ``gold``."""
        if answer is None or not answer.strip():
            return False
        problem = _needed(problem)
        return self.run(program_of(problem, answer), official_suite(problem, gold)).passed

    def passed(self, problem: Problem, answers: Sequence[str | None]) -> list[float | None]:
        """The share of the public tests that each program passes, None where there are none."""
        suite = public_suite(problem)
        if suite is None:
            return [None] * len(answers)
        found: list[float | None] = []
        for answer in answers:
            verdicts = self.run(program_of(problem, answer), suite).tests if answer else ()
            found.append(sum(v.status == "pass" for v in verdicts) / len(suite.tests))
        return found

    def run(self, source: str, suite: Suite) -> Outcome:
        """The outcome of a whole program, remembered."""
        key = blake2b(repr((source, suite)).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if self._owner != os.getpid():  # forked: the sandbox is the other process's, and left to it
            self._owner, self._lock = os.getpid(), threading.Lock()
            self._left, self._sandbox = self._sandbox, None
        with self._lock:
            if key not in self._known:
                if self._sandbox is None:
                    self._sandbox = Sandbox(self.limits, weak=self.weak)
                    atexit.register(self.close)
                self._known[key] = self._sandbox.run(source, suite)
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
            return self._known[key]

    def close(self) -> None:
        """End the sandbox; the next program starts another."""
        with self._lock:
            if self._sandbox is not None and self._owner == os.getpid():
                self._sandbox.close()
                self._sandbox = None
                atexit.unregister(self.close)


def program_of(problem: Problem, answer: str) -> str:
    """The whole program: where the problem names an ``entry_point`` the answer continues the prompt."""
    return assemble(problem, answer) if "entry_point" in problem.meta else unfenced(answer)


def official_suite(problem: Problem, gold: str) -> Suite:
    """The suite of the official tests: a text that defines ``check``, or assertions."""
    if _CHECK.search(gold):
        name = entry_point(problem)
        return Suite((name,), (f"{gold}\n\ncheck({name})\n",), (), stub(problem.prompt))
    if "entry_point" in problem.meta:
        return Suite((entry_point(problem),), (gold,), (), stub(problem.prompt))
    return mbpp_suite([gold], _setup(problem))


def public_suite(problem: Problem) -> Suite | None:
    """The suite of what a vote may look at, None where there is nothing."""
    tests = _public_tests(problem)
    if not tests:
        return None
    if "entry_point" in problem.meta:
        return Suite((entry_point(problem),), tests, (), stub(problem.prompt))
    return mbpp_suite(tests, _setup(problem))


def _public_tests(problem: Problem) -> tuple[str, ...]:
    given = problem.meta.get("tests")
    if given is None:
        return _examples(problem) if "entry_point" in problem.meta else ()
    try:
        tests = json.loads(given) if isinstance(given, str) else None
    except ValueError:
        tests = None
    if not isinstance(tests, list) or not all(isinstance(test, str) for test in tests):
        raise MullError(f"problem {problem.id!r}: metadata 'tests' must be a JSON list of assertions")
    return tuple(dict.fromkeys(tests))[:MOST_TESTS]


def _examples(problem: Problem) -> tuple[str, ...]:
    """The examples of the prompt's docstring whose result is written as a literal, as assertions."""
    prompt = problem.prompt.replace('"""', "\n\n").replace(
        "'''", "\n\n"
    )  # an example ends with its docstring
    try:
        found = doctest.DocTestParser().get_examples(prompt)
    except ValueError:
        return ()
    tests = []
    for example in found:
        try:
            ast.literal_eval(example.want.strip())
            ast.parse(example.source.strip(), mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        tests.append(f"assert ({example.source.strip()}) == ({example.want.strip()})")
    return tuple(dict.fromkeys(tests))[:MOST_TESTS]


def _setup(problem: Problem) -> str:
    setup = problem.meta.get("setup", "")
    return setup if isinstance(setup, str) else ""


def _needed(problem: Problem | None) -> Problem:
    if problem is None:
        raise MullError("the grader of programs needs the problem, whose prompt and tests it runs them with")
    return problem
