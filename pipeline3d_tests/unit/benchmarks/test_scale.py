"""The scale benchmark runs at a tiny size; what it measures is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.asset_page import PAGE_QUERIES, read_documents

ROOT = Path(__file__).parents[3]


def test_the_queries_of_the_asset_page_are_found_in_the_webserver():
    documents = read_documents()
    assert set(documents) == set(PAGE_QUERIES)
    assert "assetPartitionStatuses" in documents["PartitionHealthQuery"]
    assert "fragment AssetNodeLiveFragment on AssetNode" in documents["AssetGraphLiveQuery"]
    assert not any("${" in text for text in documents.values())


@pytest.mark.timeout(300)
def test_the_scale_benchmark_fills_an_installation_and_reports_what_a_request_costs_in_it(tmp_path):
    out = tmp_path / "scale.json"
    options = ["--noise", "--shrink", "1000", "--only", "1,000,000 requests", "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks.scale", *options]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert out.exists(), ran.stdout + ran.stderr
    report = json.loads(out.read_text())
    assert set(report["bars"]) == {"wall_against_new", "cpu_against_new", "api_p99_s", "asset_page_s"}
    assert [row["size"] for row in report["rows"]] == ["1,000,000 requests"]
    assert all(row[f"{where}_cpu_s"] > 0 for row in report["rows"] for where in ("new", "filled"))
    assert len(report["answers"]) == 3
    assert set(report["pages"][0]["queries_s"]) == set(PAGE_QUERIES)
