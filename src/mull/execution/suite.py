"""What programs are run on, and what came of it: suites, verdicts, outcomes. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mull.errors import MullError

#: pass; fail: an assertion failed; error: anything else was raised, or the process ended; timeout.
Status = Literal["pass", "fail", "error", "timeout"]


@dataclass(frozen=True)
class Suite:
    """The tests of one problem, the same for all its programs.

    ``names``: the functions that the tests call and the program defines. ``tests``: Python
    statements, a test passes when it raises nothing. ``probes``: expressions whose value is wanted,
    such as ``"f([1, 2])"``. ``preamble``: code that the tests need beside the program (imports,
    helpers of the prompt); it is run with the tests and never meets a program.

    The program's functions are called by value: arguments and results are plain data (numbers,
    text, bytes, None, containers of them, iterators up to 100,000 items). A result of any other
    type reaches the test as an object that equals nothing; a test that passes a function, or that
    looks at what a call did to its argument, cannot be told apart from one that fails.
    """

    names: tuple[str, ...]
    tests: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    preamble: str = ""

    def __post_init__(self) -> None:
        """Refuse a suite that would test nothing of the program."""
        if not self.names or not all(name.isidentifier() for name in self.names):
            raise MullError(f"a suite needs the names of the functions under test; got {self.names}")


@dataclass(frozen=True)
class Verdict:
    """What came of one test or probe; ``detail`` is the exception, ``value`` a probe's canonical value."""

    status: Status
    detail: str = ""
    value: str | None = None

    @property
    def letter(self) -> str:
        """p, f, e or t."""
        return self.status[0]

    @property
    def behaviour(self) -> str:
        """What tells programs apart: a probe's value, or else the letter."""
        return self.letter if self.value is None else f"={self.value}"


@dataclass(frozen=True)
class Outcome:
    """One program on one suite.

    ``loaded`` is False where the program could not even be loaded; every verdict then says why.
    ``output`` is the head of what it printed.
    """

    tests: tuple[Verdict, ...]
    probes: tuple[Verdict, ...] = ()
    loaded: bool = True
    output: str = ""

    @property
    def passed(self) -> bool:
        """Whether it passed every test, and there was one."""
        return bool(self.tests) and all(v.status == "pass" for v in self.tests)

    @property
    def letters(self) -> str:
        """One of p, f, e, t for each test."""
        return "".join(v.letter for v in self.tests)

    @property
    def behaviour(self) -> tuple[str, ...]:
        """What it did on every test and probe: equal for programs that nothing here tells apart."""
        return tuple(v.behaviour for v in (*self.tests, *self.probes))
