"""What Dagster's page of an asset asks for, read from the page itself.

The webserver ships the sources of its pages as source maps. The GraphQL documents are taken from there, so
what is measured is what a browser sends, in the version that is installed.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import httpx

PAGE_QUERIES = (
    "AssetViewDefinitionQuery",  # the definition, and the job that makes it
    "AssetGraphLiveQuery",  # counts of partitions, the last materialization, the run in progress
    "PartitionHealthQuery",  # the bar of partitions and their list
    "AssetOverviewMetadataEventsQuery",  # the plots of what materializations report
    "LatestAssetPartitionsQuery",  # the newest partitions …
    "RecentAssetEventsQuery",  # … and the newest events
    "AssetStaleStatusDataQuery",
    "AssetsFreshnessInfoQuery",
    "AssetsPermissionsQuery",
    "AssetHealthQuery",
    "RunningBackfillsNoticeQuery",
)
PAGE_TIMEOUT_S = 60.0


@lru_cache(maxsize=1)
def read_documents() -> dict[str, str]:
    """The page's GraphQL documents by the names of their queries, each with its fragments."""
    fragments: dict[str, str] = {}
    queries: dict[str, str] = {}
    for file in _webapp().glob("**/*.js.map"):
        sources = json.loads(file.read_text(encoding="utf-8"))
        for name, content in zip(sources["sources"], sources.get("sourcesContent") or [], strict=False):
            if content and "/ui-core/src/" in name:
                for constant, text in re.findall(r"const (\w+)\s*=\s*gql`([^`]*)`", content):
                    query = re.search(r"query (\w+)", text)
                    # Constants of queries are private to their files, those of fragments are named once.
                    (queries if query else fragments)[query[1] if query else constant] = text
    missing = set(PAGE_QUERIES) - set(queries)
    if missing:
        raise RuntimeError(f"this version of Dagster's page has no {', '.join(sorted(missing))}")
    return {name: _with_fragments(queries[name], fragments, set()) for name in PAGE_QUERIES}


def load_page(address: str, asset: str, neighbours: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Ask all that the page asks, at once as a browser does; seconds until all is there, and of each."""
    key, keys = {"path": [asset]}, [{"path": [name]} for name in neighbours]
    variables = {"assetKey": key, "assetKeys": keys, "limit": 100, "eventTypeSelectors": ["MATERIALIZATION"]}

    def ask(item: tuple[str, str]) -> tuple[str, float]:
        name, document = item
        known = {part: variables[part] for part in re.findall(r"\$(\w+):", document) if part in variables}
        started = time.perf_counter()
        body = {"operationName": name, "query": document, "variables": known}
        answer = httpx.post(f"{address}/graphql", json=body, timeout=PAGE_TIMEOUT_S).json()
        if "errors" in answer:
            raise RuntimeError(f"{name}: {answer['errors'][0]['message']}")
        return name, time.perf_counter() - started

    documents = read_documents()
    started = time.perf_counter()
    with ThreadPoolExecutor(len(documents)) as browser:
        seconds = dict(browser.map(ask, documents.items()))
    return time.perf_counter() - started, seconds


def _webapp() -> Path:
    package = find_spec("dagster_webserver")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "webapp"


def _with_fragments(text: str, fragments: dict[str, str], seen: set[str]) -> str:
    """A document with the fragments that it names, each once."""

    def expand(match: re.Match[str]) -> str:
        constant = match[1]
        if constant in seen:
            return ""
        seen.add(constant)
        return _with_fragments(fragments[constant], fragments, seen)

    return re.sub(r"\$\{(\w+)\}", expand, text)
