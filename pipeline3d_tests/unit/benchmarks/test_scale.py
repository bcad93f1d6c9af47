"""The scale benchmark asks what Dagster's page asks. It runs with the tests of the whole system."""

from __future__ import annotations

from benchmarks.asset_page import PAGE_QUERIES, read_documents


def test_the_queries_of_the_asset_page_are_found_in_the_webserver():
    documents = read_documents()
    assert set(documents) == set(PAGE_QUERIES)
    assert "assetPartitionStatuses" in documents["PartitionHealthQuery"]
    assert "fragment AssetNodeLiveFragment on AssetNode" in documents["AssetGraphLiveQuery"]
    assert not any("${" in text for text in documents.values())
