"""The ground floor: answers, costs, problems."""

from pathlib import Path

import pytest

from mull.answers import extract_answer, is_correct, normal_form
from mull.cost import Cost, ModelSize, paper_flops
from mull.errors import MullError
from mull.problems import Problem, load_jsonl, validate


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Ann: 1 + 2 = 3\nAnswer: 3", "3"),
        ("x\n#### 1,234", "1234"),
        ("Answer: 1\nAnswer: 02.50", "2.5"),
        ("no answer here", None),
        ("Answer:", None),
    ],
)
def test_the_last_answer_line_counts(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


def test_spellings_of_one_number_are_one_answer() -> None:
    assert len({normal_form(x) for x in ("7", "+7", "07", "7.0", " 7. ")}) == 1
    assert normal_form("-0") == "0"
    assert normal_form("-1,000") == "-1000"
    assert is_correct("7.0", "7") and not is_correct("8", "7") and not is_correct(None, "7")


def test_costs_add_up_field_by_field() -> None:
    one = Cost(1, 2, 3, 4, 5, 6, 7.0, 8.0)
    assert one + one == Cost(2, 4, 6, 8, 10, 12, 14.0, 16.0)
    assert one.total_flops == 15.0


def test_flops_of_pieces_are_those_of_the_whole() -> None:
    size = ModelSize(1000, 64)
    assert size.flops(3, 0) + size.flops(4, 3) == size.flops(7, 0)
    assert ModelSize(1000).flops(5, 100) == 10_000


def test_the_papers_two_conventions() -> None:
    assert paper_flops(10, 5, convention="v1") == 100
    assert paper_flops(10, 5) == 200
    with pytest.raises(ValueError, match="convention"):
        paper_flops(10, 5, convention="v2")


def test_bad_problems_are_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(MullError, match="'a' occurs twice"):
        validate([Problem("a", "x", "1"), Problem("a", "y", "1")])
    with pytest.raises(MullError, match="empty prompt"):
        validate([Problem("a", " \n", "1")])
    with pytest.raises(MullError, match="no gold"):
        validate([Problem("a", "x")])
    assert validate([Problem("a", "x")], graded=False)
    file = tmp_path / "p.jsonl"
    file.write_bytes(b'{"prompt": "x", "answer": 1}\n\xff')
    with pytest.raises(MullError, match="not UTF-8"):
        load_jsonl(file)
    file.write_text('{"prompt": "x", "answer": 1}\n{"answer": 2}\n')
    with pytest.raises(MullError, match="line 2"):
        load_jsonl(file)
