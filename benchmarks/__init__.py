"""Reproducible measurements; nothing imports them, and none is part of the tests but a smoke."""
