"""The rooms of CONTRIBUTING: no forbidden imports, no circles, no privates across rooms, names that say something."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ("chunkv2l", "evaluation")

NEVER = {
    "chunkv2l": ("evaluation", "recipes", "tests"),
    "chunkv2l/channels": ("adapter", "ask", "cli", "index", "indexing", "models", "query", "routing", "train", "video"),
    "chunkv2l/adapter": ("ask", "cli", "hypernet", "index", "indexing", "models", "query", "routing", "video"),
    "chunkv2l/hypernet": ("ask", "cli", "index", "indexing", "models", "policies", "query", "routing", "video"),
    "chunkv2l/index": (
        "adapter",
        "ask",
        "cli",
        "hypernet",
        "indexing",
        "library",
        "models",
        "policies",
        "routing",
        "train",
    ),
    "chunkv2l/video": ("adapter", "ask", "cli", "hypernet", "index", "indexing", "models", "policies", "routing"),
    "chunkv2l/graph.py": ("adapter", "ask", "cli", "hypernet", "index", "indexing", "models", "policies", "routing"),
    "chunkv2l/query": ("adapter", "ask", "cli", "hypernet", "index", "indexing", "models", "policies", "routing"),
    "chunkv2l/policies": ("adapter", "ask", "cli", "hypernet", "index", "indexing", "models", "routing", "video"),
    "chunkv2l/models": ("answer", "ask", "cli", "index", "indexing", "policies", "query", "routing"),
    "chunkv2l/routing": ("answer", "ask", "cli", "indexing", "policies", "train"),
    "chunkv2l/answer": ("ask", "cli", "indexing", "models", "policies", "train", "video"),
    "chunkv2l/indexing": ("answer", "ask", "cli", "library", "policies", "query", "routing", "train"),
    "chunkv2l/ask.py": ("cli", "indexing", "library", "train"),
    "chunkv2l/library": ("cli", "doctor", "serve", "train"),
    "chunkv2l/train": ("ask", "cli", "index", "policies"),
    "chunkv2l/export.py": ("cli", "indexing", "train"),
    "chunkv2l/plot.py": ("cli", "indexing", "models", "train"),
    "chunkv2l/doctor": ("cli", "train"),
    "chunkv2l/screen_text": ("answer", "ask", "cli", "index", "indexing", "models", "policies", "query", "routing"),
    "chunkv2l/speech": ("answer", "ask", "cli", "index", "indexing", "policies", "query", "routing", "train"),
    "chunkv2l/serve": ("cli", "doctor", "train"),
}
"""A room, and the rooms of chunkv2l that it may not import, anywhere in a file; docs/design.md has the reasons."""

NO_TORCH = (
    "chunkv2l/graph.py",
    "chunkv2l/query",
    "chunkv2l/policies",
    "chunkv2l/channels",
    "chunkv2l/speech",
    "chunkv2l/screen_text",
    "chunkv2l/answer",
    "chunkv2l/video",
    "chunkv2l/cli",
)
"""Rooms that import no torch, not even by way of others, when they are imported."""

VAGUE = {"found", "one", "own", "told", "place", "kind", "wanted", "seen", "rest", "some"}
"""Names that name nothing; inside a comprehension of three lines they pass."""
OF_LIBRARIES = {"_config", "_dynamo", "_exit", "_foreach_lerp_", "_forward_hooks", "_forward_pre_hooks", "_version"}
"""Names of PyTorch and the standard library that have no public counterpart."""
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
RIDDLES = ("What ", "Which ", "Whether ", "How ", "Where ")
"""Words that no docstring opens with: it opens with a verb, or names the value."""


@cache
def sources() -> dict[str, ast.Module]:
    """Every module of the product, by its path from the root."""
    files = sorted(path for top in PRODUCT for path in (ROOT / top).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in files}


def file_of(module: str) -> str | None:
    """The product's file that a dotted name is, if it is one."""
    path = module.replace(".", "/")
    return next((name for name in (f"{path}.py", f"{path}/__init__.py") if name in sources()), None)


def statements(tree: ast.Module, inside_functions: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements outside `if TYPE_CHECKING`, those inside functions only where they are asked for."""

    def walk(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                yield child
            elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
                continue
            elif inside_functions or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                yield from walk(child)

    return walk(tree)


def imported(tree: ast.Module, inside_functions: bool = True) -> set[str]:
    """Dotted names of what a module imports: modules, and modules that are named in `from package import module`."""
    names = set()
    for node in statements(tree, inside_functions):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if file_of(inner) else str(node.module))
    return names


@cache
def import_graph(inside_functions: bool = True) -> nx.DiGraph:
    """Files of the product, an edge from each to each that it imports."""
    graph = nx.DiGraph()
    for name, tree in sources().items():
        graph.add_edges_from((name, file) for module in imported(tree, inside_functions) if (file := file_of(module)))
    return graph


def test_no_two_files_import_each_other() -> None:
    circles = [sorted(circle) for circle in nx.strongly_connected_components(import_graph()) if len(circle) > 1]
    assert circles == []


@pytest.mark.parametrize("room", NEVER)
def test_rooms_import_only_what_they_may(room: str) -> None:
    forbidden = tuple(top if top in ("evaluation", "recipes", "tests") else f"chunkv2l.{top}" for top in NEVER[room])
    inside = {name: tree for name, tree in sources().items() if name == room or name.startswith(f"{room}/")}
    assert inside, f"there is no room {room}"
    wrong = [
        f"{name} imports {module}"
        for name, tree in inside.items()
        for module in sorted(imported(tree))
        if any(module == top or module.startswith(f"{top}.") for top in forbidden)
    ]
    assert wrong == []


def test_only_the_command_line_and_evaluation_import_the_cli() -> None:
    entry = {"chunkv2l/__main__.py"}
    users = {name for name, tree in sources().items() if any(m.startswith("chunkv2l.cli") for m in imported(tree))}
    assert {name for name in users - entry if not name.startswith(("chunkv2l/cli/", "evaluation/"))} == set()


@pytest.mark.parametrize("room", NO_TORCH)
def test_some_rooms_import_no_torch(room: str) -> None:
    graph = import_graph(inside_functions=False)
    starts = [name for name in sources() if name == room or name.startswith(f"{room}/")]
    reached = set(starts).union(*(nx.descendants(graph, name) for name in starts if name in graph))
    heavy = [name for name in sorted(reached) if "torch" in imported(sources()[name], inside_functions=False)]
    assert heavy == []


def test_the_package_shows_its_rooms() -> None:
    files = [path.name for path in (ROOT / "chunkv2l").iterdir() if path.is_file()]
    assert len(files) <= 12, files


def private_uses(name: str, tree: ast.Module) -> Iterator[str]:
    """Private names that a module takes from elsewhere, as sentences."""
    defined = {node.name for node in ast.walk(tree) if isinstance(node, DEFINITIONS)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            defined.add(node.attr)
        elif isinstance(node, (ast.Name, ast.arg)):
            defined.add(node.id if isinstance(node, ast.Name) else node.arg)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in PRODUCT:
            for alias in node.names:
                if alias.name.startswith("_"):
                    yield f"{name}:{node.lineno} imports {alias.name}"
        elif (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and node.attr not in defined | OF_LIBRARIES
        ):
            yield f"{name}:{node.lineno} uses {ast.unparse(node)}"


def test_no_room_uses_anothers_privates() -> None:
    assert [use for name, tree in sources().items() for use in private_uses(name, tree)] == []


def test_nothing_takes_a_vlm_of_any_type() -> None:
    untyped = [
        f"{name}:{node.lineno}"
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation and ast.unparse(node.annotation) == "Any"
        if (node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)).lower() in ("vlm", "self.vlm")
    ]
    assert untyped == []


def bindings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of every name that a module binds, outside comprehensions and the public fields of classes."""
    fields = {
        id(field.target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for field in node.body
        if isinstance(field, ast.AnnAssign)
    }
    inside = fields | {
        id(name)
        for node in ast.walk(tree)
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda))
        if (node.end_lineno or node.lineno) - node.lineno < 3
        for name in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg) and ast.unparse(node.annotation or node) != "Kind":  # `Query.kind` is public
            yield node.lineno, node.arg
        elif isinstance(node, DEFINITIONS):
            yield node.lineno, node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def test_names_name_something() -> None:
    vague = [
        f"{name}:{line} {bound}"
        for name, tree in sources().items()
        for line, bound in bindings(tree)
        if bound.strip("_") in VAGUE
    ]
    assert vague == []


def test_docstrings_open_with_what_a_thing_does() -> None:
    kinds = (ast.Module, *DEFINITIONS)
    riddles = [
        f"{name}:{getattr(node, 'lineno', 1)} {text.splitlines()[0]}"
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, kinds) and (text := ast.get_docstring(node)) and text.startswith(RIDDLES)
    ]
    riddles += [f"{name}:{line} {text.splitlines()[0]}" for name, line, text in constants() if text.startswith(RIDDLES)]
    assert riddles == []


def constants() -> Iterator[tuple[str, int, str]]:
    """(file, line, text) of the strings that describe constants and fields, right behind them."""
    for name, tree in sources().items():
        for node in ast.walk(tree):
            for value, text in pairwise(node.body if isinstance(node, (ast.Module, ast.ClassDef)) else []):
                if isinstance(value, (ast.Assign, ast.AnnAssign)) and isinstance(text, ast.Expr):
                    described = text.value
                    if isinstance(described, ast.Constant) and isinstance(described.value, str):
                        yield name, text.lineno, described.value
