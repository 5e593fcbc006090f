"""The command line: `statformer cluster`, `predict`, `judge`, `pca`, `bayesnet`, `pretrain`,
`bench`, `prior`, `experiments`, `robust`.

Modules are imported when their command is called, so that `statformer --help` is quick and a
missing torch matters only to the commands that need it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from statformer import __version__
from statformer._extras import MissingExtraError
from statformer.cli.bayesnet import bayesnet
from statformer.cli.cluster import cluster
from statformer.cli.errors import CommandError, one_line
from statformer.cli.judge import judge
from statformer.cli.pca import pca
from statformer.cli.predict import predict

# Commands whose modules are heavy: their name, and their line in the listing.
DEFERRED = {
    "pretrain": "Train the weights of a recipe (needs torch).",
    "bench": "Measure against the rivals (needs the bench extra).",
    "experiments": "Run claims of papers and see which hold (needs torch).",
    "prior": "Look at the tables of the training prior (needs torch).",
    "robust": "Train classifiers that small changes do not fool, and attack them (extra: robust).",
}


class CommandGroup(TyperGroup):
    """Commands that load when called, and whose errors are one line on standard error."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Replace the placeholder of a deferred command before it is called."""
        if args and args[0] in DEFERRED:
            self.commands[args[0]] = _load(args[0])
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run a command; exit with 2 and one line where the request cannot be met."""
        options["standalone_mode"] = False
        if not standalone_mode:
            return super().main(*args, **options)
        try:
            code = super().main(*args, **options)
        except (CommandError, MissingExtraError) as error:
            sys.stderr.write(f"statformer: {one_line(error)}\n")
            sys.exit(2)
        except typer.Abort:
            sys.stderr.write("statformer: stopped\n")
            sys.exit(1)
        except Exception as error:
            # Typer's own errors, whose class differs between its versions.
            if not hasattr(error, "format_message"):
                raise
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()  # type: ignore[attr-defined]
            else:
                sys.stderr.write(f"statformer: {_with_hint(error)}\n")
            sys.exit(error.exit_code)  # type: ignore[attr-defined]
        sys.exit(code if isinstance(code, int) else 0)


def _with_hint(error: Any) -> str:
    message = " ".join(error.format_message().split())
    path = getattr(getattr(error, "ctx", None), "command_path", None)
    return f"{message.rstrip('.')}; see {path} --help" if path else message


def _load(name: str) -> Any:
    """The command `name` of the module of that name: a function, or a Typer of its own."""
    command = getattr(import_module(f"statformer.cli.{name}"), name)
    if not isinstance(command, typer.Typer):
        alone = typer.Typer(add_completion=False)
        alone.command(name)(command)
        command = alone
    return typer.main.get_command(command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


def _statformer(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Cluster a table, or find its principal components, with pretrained attention networks."""


app = typer.Typer(
    cls=CommandGroup, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False
)
app.callback()(_statformer)
app.command("cluster")(cluster)
app.command("predict")(predict)
app.command("judge")(judge)
app.command("pca")(pca)
app.command("bayesnet")(bayesnet)
for _name, _line in DEFERRED.items():
    app.command(_name, help=_line)(lambda: None)


def main() -> None:
    """Run the command line."""
    app()
