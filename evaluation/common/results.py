"""Write the results of a command of `python -m evaluation`: NAME.json, NAME.md and NAME.png in one folder.

The JSON records seed, versions, hardware and command line, so that anyone can repeat the run. Paths in the command line
are shortened to names: results are for publishing, and a path is of use on one machine only.

    results.write("moments", {"R1@0.5": 0.42}, table, draw, out=out, seed=0)
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chunkv2l
from chunkv2l.cli import streams as terminal
from chunkv2l.errors import InputError
from chunkv2l.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUT = Path(__file__).parents[1] / "results"
PACKAGES = (
    "chunkv2l",
    "torch",
    "transformers",
    "numpy",
    "av",
    "opencv-python-headless",
    "scenedetect-headless",
    "peft",
)
"""Packages whose versions change numbers or times."""
SIZE, DPI = (8.0, 4.5), 120


def write(
    name: str,
    figures: Mapping[str, Any],
    table: str,
    plot: Callable[[Figure], None] | None = None,
    *,
    out: Path = OUT,
    seed: int | None = None,
) -> Path:
    """Write a command's results and return the path of the JSON.

    Args:
        name: the command's name: letters, digits, "-" and "_".
        figures: the measured values, for the key "figures"; numbers that aren't finite become null.
        table: Markdown (`evaluation.common.table.markdown`); NAME.md has it, and a line about the run below.
        plot: draws on an empty matplotlib Figure (`axes = figure.subplots()`); None for no picture. Without matplotlib
            a line on stderr says that there is none.
        out: the folder; made if it doesn't exist.
        seed: of random draws; None where there are none.

    Raises:
        InputError: the folder can't be written to.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"{name!r} isn't a name for files")
    run = provenance(seed)
    text = json.dumps({"name": name, "figures": finite(figures), **run}, indent=2, ensure_ascii=False, allow_nan=False)
    target = out / f"{name}.json"
    picture = out / f"{name}.png"
    try:
        out.mkdir(parents=True, exist_ok=True)
        picture.unlink(missing_ok=True)  # an older run's picture doesn't belong to these numbers
        write_text(out / f"{name}.md", f"{table.strip()}\n\n{made_by(run)}\n")
        if plot is not None:
            _draw(picture, plot)
        write_text(target, text + "\n")
    except OSError as error:
        raise InputError(f"{out} can't be written to: {error.strerror or error}. Name a folder with --out.") from None
    return target


def read(path: Path) -> dict[str, Any]:
    """Read a JSON that `write` made: {"name", "figures", "seed", "versions", "hardware", "command"}.

    Raises:
        InputError: the file can't be read, or isn't such a JSON.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} isn't JSON.") from None
    if not isinstance(result, dict) or not isinstance(result.get("figures"), dict) or "name" not in result:
        raise InputError(f'{path} isn\'t a result of `python -m evaluation`: it has no "name" and "figures".')
    return result


def provenance(seed: int | None = None) -> dict[str, Any]:
    """Return how a number was made: {"seed", "versions", "hardware", "command"}; no clock time, no host, no path."""
    return {"seed": seed, "versions": versions(), "hardware": hardware(), "command": command_line(sys.argv)}


def versions() -> dict[str, str]:
    """Return the versions of Python, chunkv2l and the installed packages."""
    versions = {"python": platform.python_version(), "chunkv2l": chunkv2l.__version__}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def hardware() -> dict[str, Any]:
    """Return {"system", "machine", "processor", "cores", "memory_gb"}, and "threads" and "gpu" where torch is in
    use."""
    values: dict[str, Any] = {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        values["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            values["gpu"] = torch.cuda.get_device_name()
            values["gpus"] = torch.cuda.device_count()
    return values


def command_line(arguments: Sequence[str]) -> str:
    """Return the command line with paths shortened to names.

    >>> command_line(["/a/b/evaluation/__main__.py", "moments", "--index=x/y/movie.idx", "--queries", "/z/q.jsonl"])
    'python -m evaluation moments --index=movie.idx --queries q.jsonl'
    """
    package = Path(arguments[0]).parent.name if arguments else ""
    words = (
        ["python", "-m", "evaluation"] if package == "evaluation" else [Path(arguments[0]).name] if arguments else []
    )
    for argument in arguments[1:]:
        option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        words.append(option + equals + _name(value))
    return " ".join(f"'{word}'" if re.search(r"\s", word) else word for word in words)


def made_by(run: Mapping[str, Any]) -> str:
    """Return a line to stand below a table: command, machine and the most important versions."""
    machine = run["hardware"]
    processor = (
        machine.get("gpu") or f"{machine.get('cores')} cores of {machine.get('processor') or machine.get('machine')}"
    )
    seed = "" if run["seed"] is None else f", seed {run['seed']}"
    packages = ", ".join(f"{name} {run['versions'][name]}" for name in ("chunkv2l", "torch") if name in run["versions"])
    return f"`{run['command']}`{seed}; {processor}; {packages}."


def finite(value: Any) -> Any:
    """Return a value as JSON can hold it: tuples as lists, paths as names, numbers that aren't finite as None."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, Path):
        return value.name
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _name(word: str) -> str:
    """Return a path's last part, and any other word as it is: a question may have a slash in it."""
    if re.match(r"\.{0,2}[\\/]|[A-Za-z]:[\\/]", word) or not re.search(r"\s", word):
        return re.split(r"[\\/]", word.rstrip("\\/"))[-1]
    return word


def _draw(path: Path, plot: Callable[[Figure], None]) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        terminal.say(f"No {path.name}: matplotlib isn't installed (pip install 'chunkv2l[plot]').")
        return
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    plot(figure)
    figure.savefig(path, metadata={"Software": None})


def _processor() -> str:
    """Return the processor's model; "" where the system doesn't tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1].strip() if model else platform.processor()


def _memory() -> float | None:
    """Return the machine's memory in GB; None where the system doesn't tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None
