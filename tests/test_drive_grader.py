"""A grader in the driver: what is voted over, what is right, and that no answer holds up the loop."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from mull.cost import Cost, ModelSize
from mull.drive import Driver, Task
from mull.engines.base import Continuation, Job
from mull.errors import MullError
from mull.grading import MathVerify, Settings, grader, preset
from mull.problems import Problem
from mull.strategies import Arm
from mull.trace import Step
from scripted import ScriptedEngine, ScriptedVerifier


@dataclass
class Says:
    """Gives fixed texts, one a job, in order."""

    texts: Sequence[str]
    batching: str = "together"
    name: str = "says"
    size: ModelSize = field(default_factory=lambda: ModelSize(0))
    given: int = 0

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        made = []
        for job in jobs:
            text = self.texts[self.given % len(self.texts)]
            self.given += 1
            made.append(Continuation(job.trace.then((Step(text, (1,)),), "stop"), Cost(completion_tokens=1)))
        return made


HALVES = [r"So \boxed{\frac{1}{2}}.", r"\boxed{3}", r"\boxed{0.5}", r"\boxed{3}", r"\boxed{1/2}"]


def run(arm: Arm, texts: Sequence[str], *, gold: str | None = "0.5", **settings: object):
    (found,) = Driver(Says(texts), seed=0, **settings).run([Task(Problem("p", "?", gold), arm)])
    return found


def test_votes_for_one_answer_in_several_spellings_add_up():
    alone = run(Arm("majority", 5), HALVES, extract=preset("form").extract)
    merged = run(Arm("majority", 5), HALVES, grader=grader("form"))
    assert alone.selection.answer == "3" and not alone.correct
    assert merged.correct and merged.selection.weights[merged.selection.answer] == 3.0
    assert len({c.answer for c in merged.candidates}) == 2


def test_the_selection_does_not_depend_on_the_order_of_the_samples():
    found = [run(Arm("majority", 5), HALVES[k:] + HALVES[:k], grader=grader("form")) for k in range(5)]
    assert len({(f.selection.answer, tuple(f.selection.weights.items())) for f in found}) == 1


@pytest.mark.parametrize("strategy", ["adaptive_consistency", "marginal", "early_stopping", "bayes_stop"])
def test_a_strategy_that_reads_bit_by_bit_counts_one_answer_once(strategy: str):
    spellings = [r"\boxed{\frac{1}{2}}", r"\boxed{0.5}", r"\boxed{1/2}", r"\boxed{\frac12}", r"\boxed{.5}"]
    merged = run(Arm(strategy, 40), spellings, grader=grader("form"))
    same = run(Arm(strategy, 40), spellings[:1], grader=grader("form"))
    assert merged.cost.generations == same.cost.generations < 40


def test_the_gold_answer_does_not_reach_the_vote():
    one, other = (run(Arm("majority", 5), HALVES, gold=g, grader=grader("form")) for g in ("3", None))
    assert one.selection == other.selection
    assert one.correct is False and other.correct is None


def test_without_a_grader_results_are_those_of_the_normal_form():
    problem = Problem("p", "?", "1")
    arms = [Arm("best_of_n_weighted", 8), Arm("beam", 4, (("width", 2),)), Arm("marginal", 8)]
    tasks = [Task(problem, arm) for arm in arms]
    bare = Driver(ScriptedEngine(), ScriptedVerifier(), seed=3).run(tasks)
    graded = Driver(ScriptedEngine(), ScriptedVerifier(), seed=3, grader=grader("exact")).run(tasks)
    for a, b in zip(bare, graded, strict=True):
        assert (a.selection, a.cost, a.correct, a.candidates) == (
            b.selection,
            b.cost,
            b.correct,
            b.candidates,
        )


def test_answers_are_read_merged_and_judged_off_the_event_loop():
    """So a hostile answer, which may take its whole time limit, holds up nobody else's task."""
    threads = set()

    class Watched:
        def __init__(self, inner: Settings) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> object:
            def call(*args: object) -> object:
                threads.add(threading.get_ident())
                return getattr(self.inner, name)(*args)

            return call

    found = run(Arm("marginal", 5), HALVES, grader=Watched(preset("form")))
    assert found.correct and threads and threading.get_ident() not in threads


def test_hostile_answers_are_wrong_and_nothing_more():
    pytest.importorskip("math_verify")
    hostile = [r"\boxed{10^{10^{10}}}", r"\boxed{\frac{" + "9" * 500 + r"!}{x}}", r"\boxed{9^{9^{9}}+x}"]
    found = run(Arm("majority", 3), hostile, gold="x+1", grader=grader("math"))
    assert found.correct is False and len(found.selection.weights) == 3


def test_names_are_checked_before_anything_is_sampled(monkeypatch: pytest.MonkeyPatch):
    assert grader(None) is None
    monkeypatch.setattr("mull.grading.named.available", lambda: True)
    assert grader("paper") == preset("prm800k")
    with pytest.raises(MullError, match=r"no grader 'nobody'; known: math, .*, paper, code"):
        grader("nobody")
    monkeypatch.setattr("mull.grading.named.available", lambda: False)
    with pytest.raises(MullError, match=r"needs math-verify: pip install 'mull\[math\]'"):
        grader("math")
    assert grader("form") is not None


def test_a_choice_is_read_wherever_it_is_named():
    read = preset("choice").extract
    said = ["Answer: C", "the answer is (C).", r"\boxed{\text{C}}", r"$\boxed{C}$", "**Answer:** (C) 12 eV",
            "Final answer: choice C"]  # fmt: skip
    assert {read(text) for text in said} == {"C"}
    assert read("The answer is Carbon") is None


def test_representatives_are_the_same_for_every_order_and_worker():
    answers = ["2", r"2.0", "two", None, "", "2", r"\frac{4}{2}"]
    with MathVerify(workers=1) as _:
        found = Settings(reach="form").canonical(answers)
    turned = Settings(reach="form").canonical(answers[::-1])
    assert found == tuple(turned[::-1]) and found[3] is None and found[4] is None
    assert found[0] == found[1] == found[6]
