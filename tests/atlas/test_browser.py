# SPDX-License-Identifier: MIT
"""The atlas's page in a real browser, without a network: it sorts, searches and opens outputs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from solo_plugins.atlas import write_atlas

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")


class Opened(NamedTuple):
    """A page, its table, and what it did that it must not do."""

    page: Any
    table: pd.DataFrame
    wrong: list[str]


@pytest.fixture(scope="module")
def opened(
    make_embeddings: Callable, new_browser: Any, tmp_path_factory: pytest.TempPathFactory
) -> Opened:
    """Return the page of hand-made embeddings in a browser that has never been used."""
    folder = tmp_path_factory.mktemp("browser")
    # output 3 is for the class with the harmful name
    codes = np.random.default_rng(3).random((30, 8)) * (np.arange(240).reshape(30, 8) % 7 < 3)
    codes[:, 2], codes[:, 5], codes[:10, 3], codes[10:20, 3] = 0, 1, 0, 2
    path = write_atlas(make_embeddings(folder, codes=codes)).page
    table = pd.read_csv(path.with_name("outputs.csv"), keep_default_na=False)
    wrong: list[str] = []
    page = new_browser.new_page()
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url))
    page.goto(path.as_uri(), timeout=120_000)
    page.set_default_timeout(30_000)
    playwright.expect.set_options(timeout=30_000)
    page.locator("#images.dataTable tbody tr").first.wait_for()
    return Opened(page, table, wrong)


def _column(page: Any, title: str) -> Any:
    """Return the cells of a column of the outputs, as they are shown."""
    heads = page.locator("#outputs thead th").all_inner_texts()
    place = next(i for i, head in enumerate(heads) if head.strip() == title)
    return page.locator(f"#outputs tbody td:nth-child({place + 1})")


@pytest.mark.parametrize("title", ["activity", "information", "output"])
def test_a_click_on_a_title_sorts_by_numbers(title: str, opened: Opened) -> None:
    page, cells = opened.page, _column(opened.page, title)
    texts = sorted(cells.all_inner_texts(), key=float)
    assert len(texts) == 8
    assert texts != texts[::-1]
    # a page sorts after the click, not within it: the order is waited for
    ways = {"ascending": texts, "descending": texts[::-1]}
    seen = set()
    for _ in range(2):
        head = page.get_by_role("columnheader", name=title).first
        was = head.get_attribute("aria-sort") or "none"
        head.click()
        playwright.expect(head).not_to_have_attribute("aria-sort", was)
        way = str(head.get_attribute("aria-sort"))
        playwright.expect(cells).to_have_text(ways[way])
        seen.add(way)
    assert seen == set(ways)


@pytest.mark.parametrize(
    ("word", "shown"),
    [("dead", ["2"]), ("always", ["5"]), ("no such thing", ["No matching records found"])],
)
def test_a_search_leaves_what_was_looked_for(word: str, shown: list, opened: Opened) -> None:
    field = opened.page.locator("input[aria-controls=outputs]")
    cells = opened.page.locator("#outputs tbody td:nth-child(1)")
    field.fill(word)
    playwright.expect(cells).to_have_text(shown)
    field.fill("")
    playwright.expect(cells).to_have_count(8)


def test_an_output_opens_leads_to_an_image_and_back_and_closes(opened: Opened) -> None:
    page, row = opened.page, opened.table.iloc[0]
    panels = page.locator(".panel:visible")
    page.locator("#outputs tbody a[href='#o0']").first.click()
    text = panels.inner_text()
    assert panels.get_attribute("id") == "o0"
    for fact in (f"Output {row['output']}", f"{100 * row['activity']:.1f} %", row["class_1"]):
        assert fact in text
    panels.locator("a.t").first.click()
    assert panels.locator("h2").inner_text() == f"Image {row['image_1']}"
    assert panels.locator("tr").count() > 1
    page.go_back()
    assert panels.get_attribute("id") == "o0"
    panels.locator(".close").click()
    assert panels.count() == 0


def test_every_thumbnail_has_a_picture(opened: Opened) -> None:
    pictures = opened.page.evaluate(
        "[...document.querySelectorAll('.t')].map(t => getComputedStyle(t).backgroundImage)"
    )
    assert len(pictures) > 30
    assert all(picture.startswith('url("data:image/webp') for picture in pictures)
    images = _column(opened.page, "strongest images").all_inner_texts()
    assert "".join(images).strip() == "none"  # the dead output's


def test_names_are_text_and_no_script(opened: Opened) -> None:
    assert opened.page.evaluate("window.bad") is None
    assert "<script>window.bad=1</script>" in opened.page.locator("#o3").inner_text()
    assert opened.page.locator("img").count() == 0


def test_nothing_is_fetched_and_nothing_complains(opened: Opened) -> None:
    page, asked, *rest = opened.wrong
    assert (page, asked[:5]) == (opened.page.url.partition("#")[0], "blob:")  # itables' own script
    assert rest == []
