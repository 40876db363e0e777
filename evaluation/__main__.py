"""Run `python -m evaluation NAME`: each subcommand has a module, imported when the command is run."""

from __future__ import annotations

import importlib
import sys

import click

from chunkv2l.cli import streams as terminal
from chunkv2l.errors import ChunkV2LError

COMMANDS = {
    "baselines": "evaluation.benchmarks.baselines",
    "bench": "evaluation.benchmarks.bench",
    "build": "evaluation.benchmarks.build_cost",
    "calibration": "evaluation.benchmarks.calibration",
    "channels": "evaluation.benchmarks.channels",
    "corpus": "evaluation.benchmarks.corpus",
    "composition": "evaluation.benchmarks.composition",
    "demo-movie": "evaluation.movies.demo_movie",
    "detectors": "evaluation.benchmarks.detectors",
    "equivalence": "evaluation.benchmarks.equivalence",
    "exclusions": "evaluation.benchmarks.exclusions",
    "gpu": "evaluation.benchmarks.gpu",
    "hour-movie": "evaluation.movies.hour_movie",
    "latency": "evaluation.benchmarks.latency",
    "library": "evaluation.benchmarks.library",
    "longmovie": "evaluation.benchmarks.longmovie",
    "memory": "evaluation.benchmarks.memory",
    "mini": "evaluation.benchmarks.mini",
    "moments": "evaluation.benchmarks.moments",
    "names": "evaluation.benchmarks.names",
    "relations": "evaluation.benchmarks.relations",
    "screen": "evaluation.benchmarks.screen",
    "speech": "evaluation.benchmarks.speech",
    "qa": "evaluation.benchmarks.qa",
    "random-smolvlm": "evaluation.movies.random_smolvlm",
    "report": "evaluation.report.report",
    "serving": "evaluation.benchmarks.serving",
    "unsure": "evaluation.benchmarks.unsure",
}


class Commands(click.Group):
    """Load subcommands by name; each module has a click command called `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; our errors become a line on stderr and an exit code (CHUNKV2L_DEBUG=1: a traceback)."""
        terminal.prepare()
        try:
            return super().invoke(ctx)
        except ChunkV2LError as error:
            if terminal.is_debugging():
                raise
            terminal.say(f"Error: {error}")
            ctx.exit(error.exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure chunkv2l: benchmarks and dataset readers, one command each."""


if __name__ == "__main__":
    sys.exit(main(prog_name="python -m evaluation"))
