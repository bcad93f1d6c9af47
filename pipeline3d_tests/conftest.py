"""Fixtures that every test may use."""

pytest_plugins = ["pipeline3d_tests.servers"]
