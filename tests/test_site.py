# SPDX-License-Identifier: MIT
"""The site in a real browser: every page, every link of its own, its search."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urldefrag

import pytest

pytestmark = pytest.mark.torture


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build the site and serve it, to this machine only."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(root / "docs")]
    subprocess.run([*build, str(folder)], check=True)
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("localhost", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def page(new_browser: Any) -> Any:
    """Return a page of a browser that has never been used."""
    return new_browser.new_page()


def test_every_page_and_every_link_of_its_own_is_there(site: str, page: Any) -> None:
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
    page.on(
        "response", lambda got: wrong.append(f"{got.url}: {got.status}") if not got.ok else None
    )
    # what other sites have is not asked for
    page.route(lambda url: not url.startswith(site), lambda route: route.abort())
    waiting, seen, anchors, wanted = [f"{site}index.html"], set(), {}, set()
    while waiting:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        page.goto(address, timeout=120_000, wait_until="domcontentloaded")
        anchors[address] = set(
            page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        )
        for link in page.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)"):
            target, anchor = urldefrag(link)
            if target.startswith(site):
                wanted.add((address, target, anchor))
                if target.endswith(".html"):
                    waiting.append(target)
    assert not wrong
    assert len(seen) > 20
    missing = [
        (source, target, anchor)
        for source, target, anchor in wanted
        if anchor and target in anchors and anchor not in anchors[target]
    ]
    assert not missing


def test_the_search_finds_a_page(site: str, page: Any) -> None:
    page.goto(f"{site}search.html?q=hadamard", timeout=120_000)
    page.locator("ul.search li a", has_text="Performance").first.wait_for(timeout=60_000)


def test_formulas_need_no_network(site: str, page: Any) -> None:
    page.route(lambda url: not url.startswith(site), lambda route: route.abort())
    for name in ("api", "method"):
        page.goto(f"{site}{name}.html", timeout=120_000)
        page.locator("mjx-container mjx-math").first.wait_for(timeout=60_000)
