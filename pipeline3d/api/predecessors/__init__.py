"""The calls of the systems that this one follows, as their callers make them: docs/moving.md has the map."""
