"""Embedded servers for one machine and the supervisor that keeps them alive.

Nothing here is imported for its side effects: programs are started as `python -m pipeline3d.local...`.
"""
