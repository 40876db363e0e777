"""`python -m evaluation NAME`: one subcommand a file, imported only when it is the one that was asked for."""

from __future__ import annotations

import importlib
import sys

import click

from chunkv2l.cli import output as terminal
from chunkv2l.errors import ChunkV2LError

COMMANDS = {
    "baselines": "evaluation.baselines",
    "bench": "evaluation.bench",
    "build": "evaluation.build_cost",
    "calibration": "evaluation.calibration",
    "composition": "evaluation.composition",
    "demo-movie": "evaluation.demo_movie",
    "detectors": "evaluation.detectors",
    "equivalence": "evaluation.equivalence",
    "gpu": "evaluation.gpu",
    "hour-movie": "evaluation.hour_movie",
    "latency": "evaluation.latency",
    "longmovie": "evaluation.longmovie",
    "memory": "evaluation.memory",
    "mini": "evaluation.mini",
    "moments": "evaluation.moments",
    "relations": "evaluation.relations",
    "qa": "evaluation.qa",
    "random-smolvlm": "evaluation.random_smolvlm",
    "report": "evaluation.report",
}


class Commands(click.Group):
    """Subcommands by name; each module has a click command called `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """As click does, but our errors are a line on stderr and their exit code (CHUNKV2L_DEBUG=1: a traceback)."""
        terminal.prepare()
        try:
            return super().invoke(ctx)
        except ChunkV2LError as error:
            if terminal.debugging():
                raise
            terminal.say(f"Error: {error}")
            ctx.exit(error.exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure chunkv2l: benchmarks and dataset readers, one command each."""


if __name__ == "__main__":
    sys.exit(main(prog_name="python -m evaluation"))
