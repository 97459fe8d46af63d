"""The floors of docs/architecture.md: imports point down, files stay small, the core stays light."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "mull"
FILES = sorted(SOURCE.rglob("*.py"))
FLOORS = {
    0: {"problems", "answers", "trace", "cost", "errors", "kernels", "tiny"},
    1: {"strategies", "select", "grading", "execution"},
    2: {"engines", "sets", "verifiers"},
    3: {"drive", "calls", "meter", "models", "reading", "tree", "seeds"},
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
    6: {"calibrate", "train", "replay"},
    7: {"allocation", "analysis", "report", "answering", "paper"},
    8: {"cli", "__init__", "__main__"},
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
#: torch and its like may be imported by training, and inside functions of the files named here.
HEAVY = {"torch", "transformers", "vllm", "ray"}
LAZY = {
    "verifiers/certainty.py",
    "verifiers/prm/head.py",
    "verifiers/prm/loading.py",
    "verifiers/prm/local.py",
    "verifiers/prm/tokens.py",
}


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


def heavy(node: ast.AST) -> set[str]:
    """What of HEAVY is imported in a piece of source."""
    found = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            found |= {alias.name.split(".")[0] for alias in each.names}
        elif isinstance(each, ast.ImportFrom):
            found.add((each.module or "").split(".")[0])
    return found & HEAVY


def outside_functions(node: ast.AST) -> set[str]:
    """What of HEAVY is imported when the module is: not what stands in functions or under TYPE_CHECKING."""
    found = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
            continue
        found |= heavy(child) if isinstance(child, ast.Import | ast.ImportFrom) else outside_functions(child)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_heavy_packages_are_imported_where_they_are_used(path: Path) -> None:
    if module(path) == "train" or path.name == "train.py":
        return
    tree, name = ast.parse(path.read_text()), path.relative_to(SOURCE).as_posix()
    assert not outside_functions(tree), f"{name} imports {outside_functions(tree)} when it is imported"
    if name not in LAZY:
        assert not heavy(tree), f"{name} imports {heavy(tree)}; name it in LAZY if it must"


def test_files_named_as_lazy_are_there() -> None:
    for name in LAZY:
        path = SOURCE / name
        assert path.exists() and heavy(ast.parse(path.read_text())), f"{name} imports nothing heavy"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_are_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 370
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"


def test_architecture_page_names_every_floor() -> None:
    page = (SOURCE.parent.parent / "docs" / "architecture.md").read_text()
    for name in FLOOR:
        assert name.startswith("__") or f"`{name}`" in page, f"docs/architecture.md does not name {name}"
