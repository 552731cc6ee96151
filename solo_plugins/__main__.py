# SPDX-License-Identifier: MIT
"""The command ``python -m solo_plugins``, or ``solo_plugins``: what was trained, in use.

Nothing but click is imported before a command runs, so that help comes at once.
"""

__all__ = ["main"]

from collections.abc import Iterator
from contextlib import contextmanager

import click

from solo_plugins import __version__

_FOLDER = click.Path(file_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, package_name="solo_plugins")
def main() -> None:
    """Use what was pretrained. RUN is a run's folder or a checkpoint."""


@main.command()
@click.argument("run")
@click.option("--out", required=True, type=_FOLDER, help="Folder to make.")
@click.option(
    "--onnx/--no-onnx",
    default=None,
    help="Write model.onnx too; by default if the extra `export` is installed.",
)
def export(run: str, out: str, onnx: bool | None) -> None:
    """Write RUN's network for timm and ONNX, with a model card."""
    with _one_line_errors():
        from solo_plugins.inference.export import export as write

        exported = write(run, out, onnx=onnx)
        for note in exported.notes:
            click.echo(note)
        click.echo(f"Exported: {exported.folder}")


@main.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--out", default="report", show_default=True, type=_FOLDER, help="Folder to write.")
def report(runs: tuple[str, ...], out: str) -> None:
    """Write a table and pictures of RUNS: run folders, folders above them, or globs."""
    with _one_line_errors():
        from solo_plugins.report import write_report

        click.echo(f"Report: {write_report(runs, out)}")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn an error that is meant for the user into one line and status 1."""
    from solo_plugins.errors import ConfigurationError, SoloLearnMissingError

    try:
        yield
    except (ConfigurationError, SoloLearnMissingError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
