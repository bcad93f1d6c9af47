"""Stand-in of the sf3d package: the calls that upstream's run.py makes, and their faults."""
