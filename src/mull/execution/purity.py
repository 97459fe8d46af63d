"""Which tests can be told, from their text, to leave nothing behind in the process that runs them.

Such tests of one suite share a process, over all programs; any other test gets a process of its
own. The rule is an allowlist: statements that bind local names, expressions over plain data, calls
of the program, of harmless builtins, of the test's own functions and of what is listed below of a
few modules. Parses, and never runs anything.
"""

from __future__ import annotations

import ast
import builtins

_LISTED = """
math: acos asin atan atan2 ceil comb cos degrees dist e exp fabs factorial floor fmod fsum gcd hypot inf
math: isclose isfinite isinf isnan isqrt lcm log log10 log2 nan perm pi pow prod radians sin sqrt tan tau
cmath: exp isclose phase polar rect sqrt
copy: copy deepcopy
random: Random choice choices getrandbits randint random randrange sample seed shuffle uniform
string: ascii_letters ascii_lowercase ascii_uppercase digits hexdigits punctuation whitespace
itertools: accumulate chain combinations count cycle islice permutations product repeat zip_longest
collections: Counter OrderedDict defaultdict deque
typing: Any Callable Dict FrozenSet Generator Iterable Iterator List Mapping Optional Sequence Set Tuple
typing: Union
builtins: abs all any bin bool bytearray bytes callable chr complex dict divmod enumerate filter float
builtins: format frozenset hash hex int isinstance iter len list map max min next object oct ord pow print
builtins: range repr reversed round set slice sorted str sum tuple type zip
"""
_MODULES: dict[str, set[str]] = {}
for _line in _LISTED.strip().split("\n"):
    _module, _, _names = _line.partition(":")
    _MODULES.setdefault(_module, set()).update(_names.split())
_BUILTINS = _MODULES.pop("builtins") | {
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)
}
_TYPES = (str, bytes, list, tuple, dict, set, frozenset, int, float, complex)
_ATTRIBUTES = {name for kind in _TYPES for name in dir(kind) if not name.startswith("_")}.union(
    *_MODULES.values()
)
_NODES = (
    *(ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Lambda, ast.Assign, ast.AugAssign),
    *(ast.AnnAssign, ast.NamedExpr, ast.Assert, ast.Expr, ast.For, ast.While, ast.If, ast.IfExp, ast.Pass),
    *(ast.Break, ast.Continue, ast.Try, ast.ExceptHandler, ast.Raise, ast.Import, ast.ImportFrom, ast.alias),
    *(ast.Compare, ast.Call, ast.Name, ast.Constant, ast.Attribute, ast.Subscript, ast.Slice, ast.Starred),
    *(ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.keyword, ast.JoinedStr),
    *(ast.FormattedValue, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension),
    *(ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop),
)


def bound(tree: ast.AST) -> frozenset[str]:
    """The names that the code itself gives a meaning to, in any scope."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
    return frozenset(names)


def leaves_nothing(tree: ast.AST, known: frozenset[str]) -> bool:
    """Whether the code can change nothing that outlives its own namespace.

    ``known``: names it may use beside its own and the harmless builtins. A name that nothing
    defines may be used too: it raises.
    """
    usable = known | bound(tree) | _BUILTINS
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            return False
        if isinstance(node, ast.Name):
            if node.id not in usable and (hasattr(builtins, node.id) or node.id == "__builtins__"):
                return False
        elif isinstance(node, ast.Attribute):
            if node.attr not in _ATTRIBUTES or not isinstance(node.ctx, ast.Load):
                return False
        elif isinstance(node, ast.Import):
            if any(alias.name not in _MODULES for alias in node.names):
                return False
        elif isinstance(node, ast.ImportFrom):
            allowed = _MODULES.get(node.module or "", set())
            if node.level or any(alias.name not in allowed for alias in node.names):
                return False
    return True
