"""The command line as a whole: it finds the commands and turns every failure into one line and an exit status.

Each module of ``cli/commands`` is a command: it has a function of its own name, which calls the library and prints what
that returns. A new command is a new file there. Results go to standard output, progress, warnings and errors to
standard error. The exit status is 1 where an input was refused, 2 where the command line was wrong, and 3 where the
program itself failed (set ``ASE_COMFORMER_DEBUG=1`` to see the traceback).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from ase_comformer import __version__
from ase_comformer.cli import commands
from ase_comformer.cli.terminal import complain, make_streams_tolerant

#: Order in the help; commands that are not listed follow.
_FIRST = (
    "predict",
    "respond",
    "symmetry",
    "relax",
    "elastic",
    "phonons",
    "spectra",
    "report",
    "screen",
    "compare",
    "models",
    "demo",
)


class Commands(TyperGroup):
    """The group of all commands, which shelters the terminal from tracebacks and from characters it cannot show."""

    def main(self, args: Sequence[str] | None = None, *given: Any, **options: Any) -> Any:
        """Run one command line; see the module docstring for the exit status."""
        make_streams_tolerant()
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().main(args, *given, **options)
            except (ValueError, OSError, NotImplementedError) as error:  # what the library refuses, unreadable files
                complain(error)
                raise SystemExit(1) from error
            except Exception as error:
                if os.environ.get("ASE_COMFORMER_DEBUG"):
                    raise
                complain(error, "This is a fault of ase-comformer: set ASE_COMFORMER_DEBUG=1 to see where it is.")
                raise SystemExit(3) from error


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """One line without the place in the code, which means nothing to who types a command."""
    complain(f"{category.__name__}: {message}", style="yellow")


application = typer.Typer(
    cls=Commands,
    name="ase-comformer",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ase-comformer {__version__}")
        raise typer.Exit


@application.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Energies, forces and response tensors (dielectric, Born, piezoelectric, elastic) of crystals."""


_names = [module.name for module in iter_modules(commands.__path__)]
for _name in sorted(_names, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)):
    application.command(name=_name)(getattr(import_module(f"{commands.__name__}.{_name}"), _name))
