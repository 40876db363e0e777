"""The project's own files: what the README promises exists, and nothing tracked knows the machine it was written on."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import networkx as nx
import pytest

import evaluation.__main__
from chunkv2l import policies
from chunkv2l.cli import main as cli
from chunkv2l.graph import Node
from chunkv2l.query.query import Query, Selected

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def tracked() -> list[Path]:
    """The files in git, or, where this isn't a git checkout, those that would be."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        files = [ROOT / name for name in listed.split("\0") if name]
    else:
        tops = ("chunkv2l", "evaluation", "recipes", "tests", ".ci")
        files = [*ROOT.glob("*.*"), *(path for top in tops for path in (ROOT / top).rglob("*"))]
    return [path for path in files if path.is_file()]


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in code_blocks("") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if re.match(r"(make|chunkv2l|python) ", line)]


def test_readme_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    seen = set()
    for program, *arguments in commands():
        seen.add(f"{program} {arguments[0]}")
        if program == "make":
            assert arguments[0] in targets
        elif program == "chunkv2l":
            command = cli.cli.commands[arguments[0]]
            options = {name for parameter in command.params for name in parameter.opts}
            assert {word for word in arguments if word.startswith("-")} <= options, arguments
    assert {"make demo", "make test", "chunkv2l build", "chunkv2l ask", "chunkv2l show"} <= seen


def test_every_evaluation_command_is_one_and_explains_itself() -> None:
    group = evaluation.__main__.main
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        assert command.help
    for name in re.findall(r"python -m evaluation ([a-z-]+)", README + (ROOT / "Makefile").read_text()):
        assert group.get_command(context, name) is not None, name


def test_readme_python_compiles_and_its_policy_is_the_recipe() -> None:
    blocks = [ast.parse(block) for block in code_blocks("python")]
    shown = next(node for block in blocks for node in block.body if isinstance(node, ast.FunctionDef))
    recipe = ast.parse((ROOT / "recipes" / f"{shown.name}.py").read_text())
    kept = next(node for node in recipe.body if isinstance(node, ast.FunctionDef))
    assert ast.unparse(ast.Module(shown.body, [])) == ast.unparse(ast.Module(kept.body, []))
    assert len(ast.unparse(shown).splitlines()) == 5


def test_readme_policy_runs_from_its_file() -> None:
    class Scores:
        def score(self, nodes: object, limit: int | None = None) -> dict[Node, float]:
            return {0: 0.1, 1: 0.6, 2: 0.3}

        def select(self, nodes: object) -> dict[int, Selected]:
            raise NotImplementedError

        def find(self, nodes: object, limit: int | None = None) -> dict[Node, float]:
            raise NotImplementedError

        def search(self) -> dict[Node, float]:
            return {}

        def about(self, query: Query, statement: str) -> Query:
            raise NotImplementedError

    graph = nx.DiGraph()
    graph.add_edge(0, 1, next=0.0)
    graph.add_edge(1, 2, next=0.0)
    graph.add_edge(1, 0, similar=0.5)
    name, policy = policies.load(f"{ROOT / 'recipes' / 'best_and_next.py'}:best_and_next")
    query = Query("What does the man do?", "The man do.", "what", scorer=Scores())
    assert policies.run(name, policy, graph, query) == {1: 0.7, 2: 0.3}


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_documents_hold() -> None:
    for path in documents():
        links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", path.read_text(encoding="utf-8"))
        for target, anchor in links:
            linked = path.parent / target if target else path
            assert linked.exists(), f"{path.name}: {target}"
            assert not anchor or anchor in anchors(linked), f"{path.name}: {target}#{anchor}"


def test_files_and_names_in_documents_exist() -> None:
    for path in [*documents(), *(ROOT / "recipes").rglob("*.md")]:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"`((?:chunkv2l|evaluation|recipes|tests|docs)/[a-z0-9_./]*)[:`]", text):
            assert (ROOT / name).exists(), f"{path.name}: {name}"
        for name, module in re.findall(r"`(\w+)` of\s+`([a-z0-9_/]+\.py)`", text):
            places = [ROOT / module, ROOT / "chunkv2l" / module]
            source = next((place for place in places if place.exists()), None)
            assert source and re.search(rf"\b{name}\b", source.read_text("utf-8")), f"{path.name}: {name} of {module}"


def test_what_code_cites_is_in_the_documents() -> None:
    steps = {
        int(n) for n in re.findall(r"^(\d+)\. ", (ROOT / "docs" / "algorithm.md").read_text("utf-8"), re.MULTILINE)
    }
    assert steps == set(range(1, len(steps) + 1))
    cited = 0
    for path, text in texts():
        if path.suffix != ".py" or path == Path(__file__):
            continue
        for first, last in re.findall(r"docs/algorithm\.md,\s+steps? (\d+)(?:(?:–| and )(\d+))?", text):
            assert {int(first), int(last or first)} <= steps, f"{path.name}: step {first}–{last}"
            cited += 1
        for name, anchor in re.findall(r"docs/(\w+\.md)#([\w-]+)", text):
            assert anchor in anchors(ROOT / "docs" / name), f"{path.name}: {name}#{anchor}"
            cited += 1
    assert cited > 20


@pytest.mark.skipif(os.name != "posix", reason="Makefile and .ci/run are for POSIX shells")
def test_ci_script_is_executable_and_sound() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {f"make {name}" for name in ("setup", "demo", "test", "lint", "bench")} <= set(
        re.findall(r"make \w+", listed)
    )


def test_nothing_names_the_machine_or_the_registry_it_was_made_with() -> None:
    halves = (("/wor", "k/"), ("/ro", "ot/"), ("/ho", "me/"), ("/Use", "rs/"), ("../sha", "red"), ("index-", "url"))
    needles = re.compile("|".join(re.escape(first + second) for first, second in halves))  # this file is searched too
    shared = "/ho" + "me/linuxbrew/"  # the same on every machine that has it
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path, text in texts()
        if (match := needles.search(text.replace(shared, "")))
    ]
    assert found == []


def test_fixtures_stay_small() -> None:
    sizes = [path.stat().st_size for path in tracked() if path.is_relative_to(ROOT / "tests" / "fixtures")]
    assert sum(sizes) <= 6 << 20


def test_constraints_pin_every_direct_dependency() -> None:
    lists = re.findall(r"^(\w+) = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    wanted = [
        r for name, body in lists if name in ("dependencies", "dev") for r in re.findall(r'^    "(.+)",', body, re.M)
    ]
    assert len(wanted) > 20
    pinned = {
        normal(re.split("==", line)[0]): line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    assert all(re.match(r"[\w.-]+==[\w.]+(; python_version >= \"3\.11\")?$", line) for line in pinned.values())
    names = {normal(re.split(r"[<>=!~;\[ ]", requirement)[0]) for requirement in wanted} - {"chunkv2l"}
    assert names - pinned.keys() == set()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, list[str]]:
    """The requirements of requirements.lock: each name with the versions that it has for one Python or another."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", "")
    versions: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-z0-9-]+)==([^ ;]+)(?: ; [^-]+?)?((?: +--hash=sha256:[0-9a-f]{64})+) *", line)
        assert match, line[:100]
        versions.setdefault(match[1], []).append(match[2])
    return versions


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    """It is written by `make lock`, and not by hand."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^;\s]+)", text, re.MULTILINE))
    versions = locked()
    assert {"chunkv2l"} & set(versions) == set()
    for name, version in pinned.items():
        assert version in versions.get(normal(name), ()), name


def test_the_lock_has_everything_that_the_package_its_extras_and_its_build_need() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = text[text.index("\ndependencies = [") : text.index("[project.scripts]")]
    listed = dict(re.findall(r"^([a-z]+) = \[(.*?)\](?= #|$)", lists, re.MULTILINE | re.DOTALL))
    assert {"dependencies", "plot", "screen", "serve", "speech", "dev", "build"} == set(listed)
    for extra, block in listed.items():
        names = {normal(re.split(r"[^A-Za-z0-9._-]", item)[0]) for item in re.findall(r'"([^"]+)"', block)}
        assert names - {"chunkv2l"} <= set(locked()), extra
    assert {"torch", "setuptools", "wheel", "pip", "pytest"} <= set(locked())
