"""Stand-in of the tsr package: the calls that upstream's run.py makes, and their faults."""
