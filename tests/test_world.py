"""The small world: problems are right, disjoint and seeded; writers err as they should."""

import hashlib
import itertools
import json
import re

import numpy as np

from mull.answers import extract_answer
from mull.tiny.load import problem, problems
from mull.tiny.world import BROAD, LARGEST, PRACTICE, Fact, Story, calculate, draw, split_of, stories
from mull.tiny.writers import MEAN_RATE, Writer

PERFECT = Writer(dict.fromkeys(MEAN_RATE, 0.0))


def test_streams_are_seeded_and_without_repeats() -> None:
    first = [s.prompt for s in itertools.islice(stories("validation", 3), 40)]
    assert first == [s.prompt for s in itertools.islice(stories("validation", 3), 40)]
    assert len(set(first)) == 40
    assert first != [s.prompt for s in itertools.islice(stories("validation", 4), 40)]


def digest(lines: list[str]) -> str:
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def test_the_500_test_problems_are_what_they_have_always_been() -> None:
    """Every published figure is about these, in this order; verifiers were trained on such streams."""
    told = problems()
    assert len(told) == 500
    assert digest([p.id for p in told]) == "f96a451a2080b8c5d3973bab5415efb6"
    whole = [json.dumps([p.id, p.prompt, p.gold, dict(p.meta)], sort_keys=True) for p in told]
    assert digest(whole) == "1f776d99203ae7dfa2e5f53b023b7e5d"
    rng = np.random.default_rng(5)
    assert digest([draw(rng, BROAD).prompt for _ in range(300)]) == "9edf54c23eeaa380abba960499558511"
    assert digest([draw(rng, PRACTICE).prompt for _ in range(300)]) == "8c3c9fe5cd309d6385e9053bc6088b54"


def test_splits_are_disjoint_by_hash() -> None:
    for split in ("train", "validation", "test"):
        for story in itertools.islice(stories(split, 9), 30):
            assert split_of(story.prompt) == split


def test_a_perfect_writer_reaches_the_answer_by_true_steps() -> None:
    rng = np.random.default_rng(0)
    for mix_seed in range(300):
        story = draw(np.random.default_rng(mix_seed), BROAD)
        solution = PERFECT.solve(story, rng)
        assert extract_answer(solution) == str(story.answer)
        assert 0 < story.answer <= LARGEST
        for line in solution.splitlines()[:-1]:
            who, a, op, b, value = re.fullmatch(r"(\w+): (\d+) ([-+*/]) (\d+) = (\d+)", line).groups()
            assert calculate(op, int(a), int(b)) == int(value) == story.values[who]


def test_every_relation_is_told_as_it_is_meant() -> None:
    story = Story(
        "eggs",
        (Fact("base", "Ann", 12), Fact("rmore", "Ben", 5, "Ann")),
        (Fact("rmore", "Ben", 5, "Ann"),),
    )
    assert story.prompt == "Ann has 12 eggs. Ann has 5 more than Ben. How many eggs does Ben have?\n"
    assert story.answer == 7


def test_misconceptions_are_the_ones_described() -> None:
    rng = np.random.default_rng(0)

    def wrote(kind: str, a: int, n: int, error: str) -> str:
        story = Story("eggs", (Fact("base", "Ann", a), f := Fact(kind, "Ben", n, "Ann")), (f,))
        return Writer({**PERFECT.rates, error: 1.0}).solve(story, rng).splitlines()[0]

    assert wrote("rmore", 12, 5, "reverse") == "Ben: 12 + 5 = 17"
    assert wrote("rtimes", 12, 3, "reverse") == "Ben: 12 * 3 = 36"
    assert wrote("fewer", 52, 38, "borrow") == "Ben: 52 - 38 = 26"
    assert wrote("more", 47, 38, "carry") == "Ben: 47 + 38 = 75"
    assert wrote("times", 12, 3, "times") == "Ben: 12 + 3 = 15"


def test_difficulty_has_several_sources() -> None:
    told = [problem(s).meta for s in itertools.islice(stories("train", 1), 400)]
    for key in ("steps", "facts", "backwards", "largest"):
        assert len({meta[key] for meta in told}) > 3, key


def test_loaded_problems_have_stable_ids() -> None:
    assert [p.id for p in problems(count=5)] == [p.id for p in problems(count=5)]
    assert len({p.id for p in problems("validation", 50)}) == 50
