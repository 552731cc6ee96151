# SPDX-License-Identifier: MIT
"""The page: two tables by itables, and a panel for each output and image that a link opens.

It works without a network and has no script but itables' own. A panel is shown while the address
ends in its name, so that the browser's own history and bookmarks work. Jinja escapes every name.
"""

__all__ = ["Page", "render"]

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from solo_plugins.atlas.describe import ALWAYS_ON, DEAD, Described, Output, Picture
from solo_plugins.atlas.thumbnails import Thumbnails
from solo_plugins.codes.embeddings import Embeddings

_BINS = 25


class Page(NamedTuple):
    """What is on a page.

    Args:
        embeddings: what is described.
        found: all outputs.
        pictures: the images that are shown.
        thumbnails: of the same.
    """

    embeddings: Embeddings
    found: Described
    pictures: Sequence[Picture]
    thumbnails: Thumbnails


def render(page: Page) -> str:
    """Write the page.

    Args:
        page: what is on it.

    Returns:
        HTML.
    """
    found = page.found
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(
        {
            "outputs": found.outputs,
            "pictures": {picture.row: picture for picture in page.pictures},
            "missing": page.thumbnails.missing,
            "labelled": found.labelled,
        }
    )
    cells: Any = environment.get_template("cells.html").module
    marks = [output.mark for output in found.outputs]
    return environment.get_template("page.html").render(
        about=_about(page.embeddings),
        checkpoint=str(page.embeddings.meta.get("checkpoint", "")),
        cells=cells,
        uris=page.thumbnails.uris,
        style=Markup((Path(__file__).parent / "page.css").read_text(encoding="utf-8")),
        total=len(found.images),
        active_fraction=found.codes.nnz / np.prod(found.codes.shape, dtype=float),
        dead=marks.count(DEAD),
        always_on=marks.count(ALWAYS_ON),
        empty=int((np.diff(found.codes.indptr) == 0).sum()),
        histogram=_histogram([output.activity for output in found.outputs]),
        bundle=_bundle(),
        outputs_table=_table(
            "outputs",
            _output_columns(cells, found),
            cells,
            "information" if found.labelled else "activity",
        ),
        images_table=_table("images", _image_columns(cells, page), cells, "index"),
    )


def _about(embeddings: Embeddings) -> list[str]:
    meta, source = embeddings.meta, embeddings.source
    known = (meta.get("method"), meta.get("backbone"), source.get("dataset"), source.get("split"))
    return [str(fact) for fact in known if fact]


def _histogram(values: Sequence[float]) -> list[tuple[float, int]]:
    """Count values from 0 to 1 in bins: heights in percent of the highest, and counts."""
    counts, _ = np.histogram(values, _BINS, (0, 1))
    return [(100 * count / max(counts), int(count)) for count in counts]


@cache
def _bundle() -> Markup:
    from itables import options
    from itables.javascript import generate_init_offline_itables_html

    return Markup(generate_init_offline_itables_html(options.dt_bundle))


class _Column(NamedTuple):
    """A column of a table: text, HTML that is neither sorted nor searched, or numbers."""

    title: str
    help: str
    cells: list[str]
    kind: str = "text"


def _output_columns(cells: Any, found: Described) -> list[_Column]:
    outputs = found.outputs
    columns = [
        _Column("output", "", [cells.link(o.number) for o in outputs], "number"),
        _Column("strongest images", "", [cells.strip(o) for o in outputs], "html"),
    ]
    if found.labelled:
        columns += _class_columns(cells, outputs)
    activity = [cells.bar(f"{100 * o.activity:.1f}", 100 * o.activity) for o in outputs]
    return [
        *columns,
        _Column("activity", "Percent of the images in which it is not zero", activity, "number"),
        _Column("mark", "Dead or always on", [cells.mark(o.mark) for o in outputs]),
        _Column("mean", "Over all images", [f"{o.mean:.3f}" for o in outputs], "number"),
        _Column("largest", "Largest value", [f"{o.largest:.2f}" for o in outputs], "number"),
        _Column(
            "active together with",
            "Of the images in which either is active, those in which both are (Jaccard)",
            [cells.near(o) for o in outputs],
            "html",
        ),
    ]


def _class_columns(cells: Any, outputs: Sequence[Output]) -> list[_Column]:
    bits = [o.information or 0 for o in outputs]
    most = max(bits) or 1
    return [
        _Column("classes", "", [cells.classes(o) for o in outputs]),
        _Column(
            "lift",
            "P(active | first class) / P(active)",
            [f"{o.classes[0].lift:.2f}" if o.classes else "" for o in outputs],
            "number",
        ),
        _Column(
            "information",
            "Mutual information of activity and class, in bits",
            [cells.bar(f"{value:.3f}", 100 * value / most) for value in bits],
            "number",
        ),
    ]


def _image_columns(cells: Any, page: Page) -> list[_Column]:
    shown = page.pictures
    columns = [
        _Column("image", "", [cells.thumb(p.row) for p in shown], "html"),
        _Column("index", "Place in the data set", [cells.picture(p) for p in shown], "number"),
    ]
    if any(p.name for p in shown):
        columns += [_Column("name", "", [cells.text(p.name) for p in shown])]
    if page.found.labelled:
        columns += [_Column("class", "", [cells.text(p.kind) for p in shown])]
    return [
        *columns,
        _Column("active outputs", "", [str(p.active_outputs) for p in shown], "number"),
        _Column(
            "outputs that explain it",
            "Largest by value times ln(1 / activity)",
            [cells.explained(p) for p in shown],
            "html",
        ),
    ]


def _table(name: str, columns: Sequence[_Column], cells: Any, order: str) -> Markup:
    from itables import to_html_datatable

    titles = [str(cells.title(column.title, column.help)).strip() for column in columns]
    kinds = {
        kind: [i for i, column in enumerate(columns) if column.kind == kind]
        for kind in ("html", "number")
    }
    frame = pd.DataFrame(
        dict(enumerate([str(cell).strip() for cell in column.cells] for column in columns)),
        dtype=object,
    )
    frame.columns = titles
    first = next(i for i, column in enumerate(columns) if column.title == order)
    html = to_html_datatable(
        frame,
        connected=False,
        table_id=name,
        classes="row-border hover",
        style="width:100%",
        allow_html=True,  # every name in it is escaped by Jinja
        maxBytes=0,
        maxColumns=0,
        showIndex=False,
        display_logo_when_loading=False,
        text_in_header_can_be_selected=False,
        autoWidth=False,
        pageLength=25,
        # one of our own: itables leaves the search of short tables out of its default
        layout={
            "topStart": "search",
            "topEnd": "pageLength",
            "bottomStart": "info",
            "bottomEnd": "paging",
        },
        order=[[first, "asc" if order == "index" else "desc"]],
        columnDefs=[
            {
                "targets": kinds["html"],
                "orderable": False,
                "searchable": False,
                "className": "links",
            },
            {"targets": kinds["number"], "orderSequence": ["desc", "asc"], "className": "dt-right"},
        ],
    )
    return Markup(html)
