"""Tests of Pipeline3D."""
