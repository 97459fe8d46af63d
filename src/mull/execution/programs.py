"""Programs and suites out of problems, in the manner of HumanEval and MBPP.

Text in, text out, and :func:`grade_program`, which runs them. Completions are cut and joined to
their prompts here and nowhere else; nothing here runs a program outside the sandbox.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Sequence

from mull.errors import MullError
from mull.execution.limits import Limits
from mull.execution.purity import bound
from mull.execution.sandbox import Sandbox
from mull.execution.suite import Outcome, Suite
from mull.problems import Problem

#: Where a completion of a function's body has gone on to something else (Chen et al. 2021, section 2).
STOPS = ("\nclass ", "\ndef ", "\n# ", "\nif ", "\nprint ", "\nassert")

_FENCE = re.compile(r"```(?:[Pp]ython\d?|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


def truncate(completion: str, stops: Sequence[str] = STOPS) -> str:
    """The completion up to the first of the stops."""
    ends = [at for stop in stops if (at := completion.find(stop)) >= 0]
    return completion[: min(ends)] if ends else completion


def stub(prompt: str) -> str:
    """A prompt that ends in a function's head or its docstring, with an empty body."""
    return prompt.rstrip() + "\n    pass\n"


def assemble(problem: Problem, completion: str) -> str:
    """The whole program: the prompt and the body that continues it, cut at :data:`STOPS`.

    A completion that defines the function itself (a chat model's, in a code fence or bare) is
    kept whole, after the prompt's imports and helpers.
    """
    name = entry_point(problem)
    fenced = _FENCE.findall(completion)
    for code in (*fenced, completion):
        if re.search(rf"^def {name}\b", code, re.MULTILINE):
            return f"{stub(problem.prompt)}\n{code}"
    return problem.prompt + truncate(fenced[0] if fenced else completion)


def entry_point(problem: Problem) -> str:
    """The name of the function asked for; :class:`MullError` if the problem does not say."""
    name = problem.meta.get("entry_point")
    if not isinstance(name, str) or not name.isidentifier():
        raise MullError(f"problem {problem.id!r} names no function (field 'entry_point')")
    return name


def humaneval_suite(problem: Problem, tests: Sequence[str] = (), probes: Sequence[str] = ()) -> Suite:
    """The suite of a problem whose ``meta`` has ``entry_point``, and ``test`` that defines ``check``.

    With ``tests`` these take the place of ``check``: a model's own assertions, say.
    """
    name = entry_point(problem)
    official = problem.meta.get("test")
    if not tests and not probes:
        if not isinstance(official, str) or not official.strip():
            raise MullError(f"problem {problem.id!r} has no tests (field 'test')")
        tests = (f"{official}\n\ncheck({name})\n",)
    return Suite((name,), tuple(tests), tuple(probes), stub(problem.prompt))


def mbpp_suite(tests: Sequence[str], setup: str = "") -> Suite:
    """The suite of assertions that call functions by name; ``setup`` is what they need run first.

    The functions under test are those that the assertions call and neither ``setup`` nor Python defines.
    """
    try:
        trees = [ast.parse(test) for test in tests]
        known = bound(ast.parse(setup)).union(vars(builtins), *map(bound, trees))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise MullError(f"a test is not Python: {error}") from None
    names = {
        node.func.id: None
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in known
    }
    if not names:
        raise MullError("the tests call no function of the program's")
    return Suite(tuple(names), tuple(tests), (), setup)


def grade_program(
    problem: Problem,
    program: str,
    tests: Suite | Sequence[str] | None = None,
    limits: Limits | None = None,
    *,
    sandbox: Sandbox | None = None,
) -> Outcome:
    """Run a model's program on tests; :attr:`Outcome.passed` says whether it is right.

    ``tests`` None: the problem's own, HumanEval style, and ``program`` is a completion of its
    prompt (or defines the function). A sequence: assertions, MBPP style, and a suite: as it
    stands; then ``program`` is whole, or where the problem names an ``entry_point`` a completion.
    Give a ``sandbox`` when there is more than one program to grade: starting one takes longer
    than most programs; its limits then hold.
    """
    if isinstance(tests, str):
        raise MullError("tests must be a sequence of assertions, not one text")
    if tests is None:
        suite = humaneval_suite(problem)
    elif isinstance(tests, Suite):
        suite = tests
    else:
        suite = humaneval_suite(problem, tests) if "entry_point" in problem.meta else mbpp_suite(tests)
    source = assemble(problem, program) if "entry_point" in problem.meta else unfenced(program)
    if sandbox is not None:
        if limits is not None and limits != sandbox.limits:
            raise MullError("the sandbox has its own limits; give limits or a sandbox, not both")
        return sandbox.run(source, suite)
    with Sandbox(limits) as own:
        return own.run(source, suite)


def unfenced(program: str) -> str:
    """A chat model's answer without what is around its code; a text without a code fence as it is."""
    fenced = _FENCE.findall(program)
    return "\n".join(fenced) if fenced else program
