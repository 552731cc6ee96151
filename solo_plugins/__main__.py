# SPDX-License-Identifier: MIT
"""The command ``python -m solo_plugins``, or ``solo_plugins``: training, and its result in use.

Nothing but click is imported before a command runs, so that help comes at once.
"""

__all__ = ["main"]

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from solo_plugins import __version__
from solo_plugins.args.interrupts import leaving_at_once
from solo_plugins.args.usage import PURPOSE, escape_missing_signs, located
from solo_plugins.configs import scripts

_PROGRAMS = {
    "pretrain": "solo_plugins.training.pretrain",
    "linear": "solo_plugins.evaluation.linear",
    "knn": "solo_plugins.evaluation.knn",
}
_FOLDER = click.Path(file_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, package_name="solo_plugins")
def main() -> None:
    """Pretrain, evaluate, and use what was pretrained. RUN is a run's folder or a checkpoint."""
    escape_missing_signs()


@main.command(short_help="Write the network for timm and ONNX.")
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
            _say(note)
        _say(f"Exported: {exported.folder}")


@main.command(short_help="Encode images: features and sparse codes.")
@click.argument("run")
@click.argument("data", required=False)
@click.option("--out", required=True, type=_FOLDER, help="Folder to make.")
@click.option("--split", default="val", show_default=True, type=click.Choice(["train", "val"]))
@click.option("--root", type=_FOLDER, help="Where the data set lies, if the run's lay elsewhere.")
@click.option("--strict", is_flag=True, help="Refuse files that cannot be read; else skip them.")
@click.option("--batch-size", default=256, show_default=True)
@click.option("--workers", default=0, show_default=True, help="Processes that read images.")
@click.option("--accelerator", default="auto", type=click.Choice(["auto", "cpu"]))
def embed(run: str, data: str | None, out: str, **settings: Any) -> None:
    """Encode images by RUN's network: features and codes, dense and sparse.

    DATA is the name of a data set, or a folder of images or of class folders; without it, it is the
    run's own.
    """
    with _one_line_errors():
        from solo_plugins.inference.embed import EmbedSettings
        from solo_plugins.inference.embed import embed as write

        found = write(run, out, data, EmbedSettings(**settings))
        if int(os.environ.get("RANK", "0")):
            return
        meta = found.meta
        split = f" ({meta['data']['split']})" if "split" in meta["data"] else ""
        click.echo(
            f"Embeddings: {out}, {meta['images']} images of {meta['data']['dataset']}{split}, "
            f"{meta['skipped']} skipped"
        )
        for name, size in meta["bytes"].items():
            click.echo(f"{size:>14,} bytes  {name}")
        if meta["outputs"]:
            click.echo(f"Active outputs: {100 * meta['active_fraction']:.1f} %")


@main.command(short_help="Find what is nearest to an image.")
@click.argument("embeddings", type=_FOLDER)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-k", default=5, show_default=True, help="Neighbours of each image.")
@click.option("--by", default="codes", show_default=True, type=click.Choice(["codes", "features"]))
@click.option("-m", type=int, help="Cut codes to their M largest outputs.")
@click.option("--run", help="The network, if it is not any more where it was.")
@click.option("--picture", help="A .png, .pdf or .svg of each image with its neighbours.")
def search(embeddings: str, images: tuple[str, ...], picture: str | None, **settings: Any) -> None:
    """Find what is nearest to each IMAGE, as a table separated by tabs."""
    with _one_line_errors():
        from solo_plugins.inference.picture import write_picture
        from solo_plugins.inference.query import Hit
        from solo_plugins.inference.query import search as find
        from solo_plugins.pictures.style import picture_kind
        from solo_plugins.runs.writable import check_writable

        if picture is not None:
            picture_kind(Path(picture), "picture")
            check_writable(Path(picture).parent, "picture")
        hits = find(embeddings, images, **settings)
        click.echo("\t".join(Hit._fields))
        for hit in hits:
            click.echo("\t".join(map(_cell, hit)))
        if picture is not None:
            for reason in write_picture(embeddings, hits, picture):
                _say(f"Left out of the picture: {reason}", err=True)
            _say(f"Picture: {picture}", err=True)  # beside a table for other programs


@main.command(short_help="Probe frozen features on other data sets.")
@click.argument("run")
@click.option(
    "--datasets",
    default="dtd,cifar10,cifar100,flowers102,food101,pets",
    show_default=True,
    help="Also stl10 and digits.",
)
@click.option(
    "--shots",
    default="1,10,all",
    show_default=True,
    help="Images of each class, a percentage of all such as 5%, or all.",
)
@click.option("--draws", default=5, show_default=True, help="Of the training images.")
@click.option("--root", type=_FOLDER, help="Where the data sets lie, if not where the run's do.")
@click.option("--download", is_flag=True, help="Fetch what is missing, into the root.")
@click.option("--batch-size", default=256, show_default=True)
@click.option("--workers", default=0, show_default=True, help="Processes that read images.")
@click.option("--accelerator", default="auto", type=click.Choice(["auto", "cpu"]))
def transfer(run: str, datasets: str, shots: str, **settings: Any) -> None:
    """Probe RUN's frozen features on other data sets, and leave a table in its folder.

    A second call measures what is missing.
    """
    with _one_line_errors():
        from solo_plugins.inference.transfer import TransferSettings
        from solo_plugins.inference.transfer import transfer as write

        names, parts = ([part.strip() for part in text.split(",")] for text in (datasets, shots))
        click.echo(f"Table: {write(run, TransferSettings(names, parts, **settings))}")


@main.command(short_help="Draw features and codes in a plane.")
@click.argument("embeddings", type=_FOLDER)
@click.option("--out", help="A .png, .pdf or .svg; by default space.png in EMBEDDINGS.")
@click.option("--pca", is_flag=True, help="PCA alone, without umap-learn.")
@click.option("--images", "most", default=5000, show_default=True, help="Images shown at most.")
@click.option("--seed", default=0, show_default=True)
def umap(embeddings: str, out: str | None, pca: bool, **settings: Any) -> None:
    """Draw features and codes in a plane by PCA and UMAP, coloured by class."""
    with _one_line_errors():
        from solo_plugins.codes.space import METHODS, write_space

        methods = METHODS[:1] if pca else METHODS
        found = write_space(embeddings, out, methods=methods, **settings)
        click.echo(f"Picture: {found.picture}, {found.images} of {found.of} images")
        click.echo(f"Coordinates: {found.table}")


@main.command(short_help="Write a page of what each output means.")
@click.argument("embeddings", type=_FOLDER)
@click.option("--out", type=_FOLDER, help="Folder to make; by default `atlas` in EMBEDDINGS.")
@click.option("--images", default=8, show_default=True, help="Images of each output.")
@click.option("--root", type=_FOLDER, help="Where the images lie, if they have been moved.")
def atlas(embeddings: str, **settings: Any) -> None:
    """Write a page on what each output of EMBEDDINGS means, and its numbers as CSV."""
    with _one_line_errors():
        from solo_plugins.atlas import write_atlas

        done = write_atlas(embeddings, **settings)
        if done.missing:
            _say(f"{done.missing} of {done.shown} images are marked: {done.reason}")
            click.echo("`--root` says where images lie that have been moved.")
        click.echo(f"{done.outputs} outputs, {done.dead} dead, {done.always_on} always on")
        click.echo(f"Atlas: {done.page}, {done.size / 1e6:.1f} MB")


@main.command(short_help="Write tables and pictures of runs.")
@click.argument("runs", nargs=-1, required=True)
@click.option("--out", default="report", show_default=True, type=_FOLDER, help="Folder to write.")
@click.option("--formats", default="png,pdf,svg", show_default=True, help="Kinds of picture files.")
@click.option("--width", default=6.8, show_default=True, help="Inches: the text of a page.")
def report(runs: tuple[str, ...], out: str, formats: str, width: float) -> None:
    """Write tables and pictures of RUNS: run folders, folders above them, or globs.

    Pictures are as wide as one column of a paper and as its page; tables are also CSV, JSON and
    LaTeX.
    """
    with _one_line_errors():
        from solo_plugins.report import write_report

        kinds = [part.strip() for part in formats.split(",")]
        click.echo(f"Report: {write_report(runs, out, formats=kinds, width=width)}")


@main.command(short_help="Write the page of all settings.")
def settings() -> None:
    """Write the page of all settings of the programs, in Markdown: docs/configuration.md."""
    with _one_line_errors():
        from solo_plugins import register
        from solo_plugins.args.reference import reference
        from solo_plugins.framework import METHODS

        register()
        kinds = {name: getattr(kind, "settings_class", None) for name, kind in METHODS.items()}
        click.echo(reference({name: kind for name, kind in kinds.items() if kind}), nl=False)


def _start(kind: str, arguments: Sequence[str]) -> None:
    """Do what ``main_<kind>.py`` does, with a YAML that is named from anywhere."""
    hydras = located(kind, arguments, scripts())
    import hydra

    typed = list(sys.argv)

    def task(cfg: Any) -> None:
        # Not before: torch takes ten seconds, and help is to come at once.
        from solo_plugins.training.sweep import one_line_errors

        sys.argv = typed  # which Lightning repeats, to start more processes
        module = import_module(_PROGRAMS[kind])
        with one_line_errors():
            getattr(module, kind)(cfg)

    sys.argv = [typed[0], *hydras]
    with leaving_at_once():
        hydra.main(version_base="1.2", config_path=None)(task)()


def _add_program(kind: str) -> None:
    settings: dict[str, Any] = {"ignore_unknown_options": True, "help_option_names": []}

    @main.command(
        kind,
        help=PURPOSE[kind],
        short_help=PURPOSE[kind].partition(";")[0],
        context_settings=settings,
        add_help_option=False,
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def program(arguments: tuple[str, ...]) -> None:
        _start(kind, arguments)


for _kind in _PROGRAMS:
    _add_program(_kind)


def _say(line: str, *, err: bool = False) -> None:
    """Print a line with names that anybody may have given."""
    from solo_plugins.untrusted.text import printable

    click.echo(printable(line), err=err)


def _cell(value: object) -> str:
    """Write a cell of a table whose cells are separated by tabs."""
    from solo_plugins.untrusted.text import printable

    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return printable(text).replace("\n", "\\n")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn an error that is meant for the user into one line and status 1."""
    from solo_plugins.errors import ConfigurationError, SoloLearnMissingError, os_error_line
    from solo_plugins.untrusted.text import printable

    try:
        yield
    except (ConfigurationError, SoloLearnMissingError) as error:
        raise SystemExit(printable(f"error: {error}")) from error
    except OSError as error:
        raise SystemExit(printable(f"error: {os_error_line(error)}")) from error


if __name__ == "__main__":
    main()
