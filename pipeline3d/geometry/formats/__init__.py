"""One module a file format: the same in-memory model as OBJ, STL, PLY, 3MF and USDZ."""
