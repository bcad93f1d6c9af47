"""Stand-ins of upstream programs: their arguments and file layouts, and their faults on demand; no models.

Each takes exactly the arguments of the real program and writes its files where the real one does. LC_STAND_IN
names a fault to play: the variable reaches the program through the wrapper's list of allowed variables.
"""
