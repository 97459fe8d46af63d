"""Taking the final answer out of a text, by named conventions."""

import pytest

from mull.errors import MullError
from mull.grading import CONVENTIONS, final_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{1} and then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}} and \boxed{broken", r"\{1, 2\}"),
        (r"\boxed 7 is it", "7"),
        ("work\n#### 1,234\n", "1,234"),
        ("Answer: 3\nno\n**Final Answer:** $x = 4$.\n", "$x = 4$"),
        ("The answer is 3.5. I hope it is correct.", "3.5"),
        ("so the final answer is: **12**.", "12"),
        ("nothing here", None),
        (r"The answer is 3, so \boxed{4}", "4"),
    ],
)
def test_the_final_answer_by_the_first_convention_that_finds_one(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_conventions_are_named() -> None:
    text = "The answer is 1.\nAnswer: 2\n#### 3\n" + r"\boxed{4}"
    assert [CONVENTIONS[name](text) for name in ("is", "answer", "hashes", "boxed")] == list("1234")
    assert final_answer(text, ["hashes", "boxed"]) == "3"
    with pytest.raises(MullError, match="'html'"):
        final_answer(text, ["html"])


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("answer is" + " " * 200_000, None),
        (r"\boxed{" * 150_000, None),
        ("answer:" * 100_000, "answer:" * 99_998 + "answer:"),
        (r"\boxed{1}" + "{" * 1_000_000, "1"),
    ],
    ids=["spaces", "boxes", "lines", "braces"],
)
def test_hostile_texts_are_scanned_once(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer
