"""math-verify's workers and the classes they make: hostile answers, deaths, threads, order."""

import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from mull.errors import MullError
from mull.grading import PRESETS, MathVerify, classes, equal, final_answer

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None or not hasattr(signal, "SIGPROF"),
    reason="math-verify is not installed (extra 'math'), or this is no POSIX system",
)
MATH = PRESETS["math"]
ROOTS = (r"\sqrt{12}", r"2\sqrt{3}")


@pytest.fixture(scope="module")
def workers() -> Iterator[MathVerify]:
    with MathVerify(1, seconds=0.6) as found:
        yield found


HOSTILE = {
    "a megabyte of braces": "{" * 1_000_000,
    "braces": "{" * 900,
    "nested brackets": "(" * 450 + "1" + ")" * 450,
    "nested roots": r"\sqrt{" * 140 + "2" + "}" * 140,
    "nested fractions": r"\frac{1}{" * 90 + "2" + "}" * 90,
    "fractions without end": r"\frac{" * 160,
    "a power": "10**10**10",
    "a tower": "9^{9^{9^{9^9}}}",
    "a factorial": "((9!)!)!",
    "a sum": r"\sum_{k=1}^{10^9} k^k",
    "digits": "9" * 999,
    "an exponent": "1e999999999",
    "code": "__import__('os').system('touch {marker}')",
    "more code": r"\text{__import__('os').abort()}",
    "NUL": "\0" * 50 + "5\0",
    "unicode": "\ud800\u202e𝟙𝟚𓀀½²³" * 20,
    "dollars": "$" * 999,
    "words": " a" * 499,
    "an ordinal": "1th" + "a" * 900 + "!",
    "relations": "x<" * 300 + "1",
    "equations": "x=" * 300 + "1",
    "signs": r"\pm" * 200 + "1",
    "a list": ",".join(rf"\sqrt{{{n}}}" for n in range(60)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_is_wrong_and_costs_no_process(
    workers: MathVerify, name: str, tmp_path: Path
) -> None:
    answer = HOSTILE[name].replace("{marker}", str(tmp_path / "marker"))
    for preset in PRESETS:
        assert not equal(ROOTS[0], answer, PRESETS[preset], workers)
    final_answer(answer)
    assert not any(tmp_path.iterdir())
    assert equal(*ROOTS, MATH, workers).by == "math-verify"


def test_what_hangs_is_tried_alone_and_then_not_asked_again(workers: MathVerify) -> None:
    slow = r"\sum_{k=1}^{10^9} (k+1)^k"
    for n in (2, 3):
        assert equal(slow, rf"\sqrt{{{n}}}", MATH, workers).by == "time limit"
    before = (workers.judged, workers.failed)
    for n in range(5, 40):
        assert equal(slow, rf"\sqrt{{{n}}}", MATH, workers).by == "time limit"
    assert (workers.judged, workers.failed) == before
    assert equal(r"\sqrt{8}", r"2\sqrt{2}", MATH, workers).by == "math-verify"


def test_a_list_costs_one_time_limit_however_long(workers: MathVerify) -> None:
    before = workers.failed
    slow = ", ".join(rf"\sum_{{k=1}}^{{10^9}} (k+{n})^k" for n in range(2, 9))
    gold = ", ".join(rf"\sqrt{{{n}}}" for n in range(2, 9))
    assert equal(gold, slow, MATH, workers).by == "time limit"
    assert workers.failed == before + 1


def test_a_dead_worker_is_replaced_without_a_trace() -> None:
    with MathVerify(1) as found:
        assert equal(*ROOTS, MATH, found)
        for n in (5, 6):
            [pid] = found.pids()
            os.kill(pid, signal.SIGKILL)
            assert equal(rf"\sqrt{{{4 * n}}}", rf"2\sqrt{{{n}}}", MATH, found).by == "math-verify"


def test_a_worker_that_stands_still_is_ended() -> None:
    with MathVerify(1, seconds=0.3) as found:
        assert equal(*ROOTS, MATH, found)
        [pid] = found.pids()
        os.kill(pid, signal.SIGSTOP)
        assert equal(r"\sqrt{20}", r"2\sqrt{5}", MATH, found).by == "time limit"
        assert equal(r"\sqrt{24}", r"2\sqrt{6}", MATH, found).by == "math-verify"
        assert pid not in found.pids()


def test_workers_killed_in_the_middle_of_a_judgement() -> None:
    slow = r"\sum_{k=1}^{10^9} (k+5)^k"
    with MathVerify(1, seconds=60.0) as found, ThreadPoolExecutor(1) as thread:
        verdict = thread.submit(equal, slow, r"\sqrt{2}", MATH, found)
        while not verdict.done():
            for pid in found.pids():
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        assert verdict.result().by == "worker died"
        assert equal(r"\sqrt{28}", r"2\sqrt{7}", MATH, found).by == "math-verify"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_have_bounded_memory_and_end_with_the_pool() -> None:
    with MathVerify(1, memory_mb=512) as found:
        assert equal(*ROOTS, MATH, found)
        [pid] = found.pids()
        limits = Path(f"/proc/{pid}/limits").read_text()
        [line] = [line for line in limits.splitlines() if line.startswith("Max address space")]
        assert int(line.split()[3]) == 512 << 20
    assert not Path(f"/proc/{pid}").exists()


def test_many_threads_share_few_workers() -> None:
    todo = [(rf"\sqrt{{{4 * n}}}", rf"2\sqrt{{{n + n % 2}}}", n % 2 == 0) for n in range(5, 45)]
    with MathVerify(2) as found, ThreadPoolExecutor(8) as threads:
        verdicts = list(threads.map(lambda pair: equal(pair[0], pair[1], MATH, found), todo * 3))
        assert [bool(v) for v in verdicts] == [right for _, _, right in todo * 3]
        assert 1 <= len(found.pids()) <= 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_workers_of_its_own(workers: MathVerify) -> None:
    assert equal(*ROOTS, MATH, workers)
    before = workers.pids()
    child = os.fork()
    if child == 0:
        right = equal(r"\sqrt{44}", r"2\sqrt{11}", MATH, workers) and workers.pids() != before
        workers.close()
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert workers.pids() == before
    assert equal(r"\sqrt{52}", r"2\sqrt{13}", MATH, workers).by == "math-verify"


def test_limits_that_make_no_sense_are_errors() -> None:
    for wrong in ({"workers": 0}, {"seconds": 0.0}, {"memory_mb": 1}):
        with pytest.raises(MullError, match="at least 1 worker"):
            MathVerify(**wrong)


ANSWERS = [
    "1/2", "0.5", r"\frac12", "2/4", r"\sqrt{12}", r"2\sqrt{3}", r"2\sqrt3", "x+1", "1+x", "(x^2-1)/(x-1)",
    "(1,2)", r"\left(1, 2\right)", "1, 2", "2, 1", "East", r"\text{east}", "10", r"10\%", "ten",
    None, "", "7",
]  # fmt: skip


@pytest.mark.parametrize("name", ["math", "prm800k", "exact", "hendrycks", "math-verify"])
def test_classes_do_not_depend_on_the_order(workers: MathVerify, name: str) -> None:
    answers = ANSWERS * 2
    expected = classes(answers, PRESETS[name], workers)
    assert sum(expected.sizes) == sum(bool(a) for a in answers)
    for seed in range(4):
        shuffled = list(range(len(answers)))
        random.Random(seed).shuffle(shuffled)
        found = classes([answers[i] for i in shuffled], PRESETS[name], workers)
        assert (found.representatives, found.sizes) == (expected.representatives, expected.sizes)
        assert [found.labels[shuffled.index(i)] for i in range(len(answers))] == list(expected.labels)


def test_votes_for_equal_answers_add_up(workers: MathVerify) -> None:
    found = classes(ANSWERS, MATH, workers)
    assert found.merged[:7] == ("0.5",) * 4 + (r"2\sqrt3",) * 3
    assert len({found.labels[i] for i in (7, 8, 9)}) == 1
    assert found.labels[12] == found.labels[13] != found.labels[10] == found.labels[11]
    assert found.labels[19] is None and found.merged[20] is None
    assert found.sizes == tuple(sorted(found.sizes, reverse=True))


def test_classes_are_the_transitive_closure_of_what_is_equal(workers: MathVerify) -> None:
    near = replace(MATH, relative=0.06)
    chain = ["1.00", "1.05", "1.10", "1.15", "1.5"]
    assert not equal(chain[0], chain[2], near)
    assert classes(chain, near).sizes == (4, 1)
    answers = [answer for answer in ANSWERS if answer]
    found = classes(answers, MATH, workers)
    for i, a in enumerate(answers):
        for j, b in enumerate(answers):
            if equal(a, b, MATH, workers):
                assert found.labels[i] == found.labels[j]


def test_the_cheap_form_spares_the_workers(workers: MathVerify) -> None:
    before = workers.judged
    found = classes([f"{n % 300}{'.0' * (n % 2)}" for n in range(3000)], MATH, workers)
    assert len(found.sizes) == 300 and workers.judged == before


def test_one_hostile_answer_does_not_part_the_others(workers: MathVerify) -> None:
    slow = r"\sum_{k=1}^{10^9} (k+9)^k"
    found = classes([slow, *ROOTS, r"\sqrt{3}+\sqrt{3}", slow], MATH, workers)
    assert found.sizes == (3, 2)
