"""The floors of docs/architecture.md: imports point down, files stay small, the core stays light."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "mull"
FILES = sorted(SOURCE.rglob("*.py"))
FLOORS = {
    0: {"problems", "answers", "trace", "cost", "errors", "tiny"},
    1: {"strategies", "select", "grading", "execution"},
    2: {"engines", "verifiers"},
    3: {"drive", "calls", "meter", "tree", "seeds"},
    4: {"study", "difficulty"},
    5: {
        "policy",
        "policy_file",
        "policy_charged",
        "policy_ratio",
        "policy_allocate",
        "policy_allocate_charged",
        "exchange",
        "exchange_curve",
        "pools",
    },
    6: {"train", "replay"},
    7: {"analysis", "report", "answering", "paper"},
    8: {"cli", "__init__", "__main__"},
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
#: torch and its like may be imported by training alone.
HEAVY = {"torch", "transformers", "vllm", "ray"}


def module(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            if node.module == "mull":
                found |= {f"mull.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    own = module(path)
    assert own in FLOOR, f"{own} has no floor; give it one here and in docs/architecture.md"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "mull" and len(parts) > 1 and parts[1] in FLOOR and parts[1] != own:
            assert FLOOR[parts[1]] <= FLOOR[own], f"{path} imports {name}, which is above it"
        if parts[0] in HEAVY:
            assert own == "train" or path.name == "train.py", f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_are_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 370
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"


def test_architecture_page_names_every_floor() -> None:
    page = (SOURCE.parent.parent / "docs" / "architecture.md").read_text()
    for name in FLOOR:
        assert name.startswith("__") or f"`{name}`" in page, f"docs/architecture.md does not name {name}"
