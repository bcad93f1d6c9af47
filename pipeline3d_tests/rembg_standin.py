"""A stand-in for background-removal weights: a few hundred bytes that onnxruntime really loads and runs.

It has the inputs and outputs of U2-Net and no training: its mask is how far each pixel's colour is from
the colour of the picture's first corner. The file is written field by field as onnx.proto numbers them, so
that the tests need no package for it.
"""

from __future__ import annotations

from pathlib import Path

INT64, FLOAT = 7, 1
"""Element types of onnx.proto's TensorProto."""


def write_standin(directory: Path, name: str, *, side: int = 320, sees: str = "difference") -> Path:
    """`<directory>/<name>.onnx`, a model for pictures of `side` pixels; the path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.onnx"
    path.write_bytes(build_standin(side=side, sees=sees))
    return path


def build_standin(*, side: int = 320, sees: str = "difference", channels: int = 3) -> bytes:
    """The file of a model (1,channels,side,side) to (1,1,side,side).

    What it `sees`: "difference" from the first corner, "nothing" (0 all over), or "impossible" (not a
    number all over).
    """
    against = {"difference": "corner", "nothing": "picture", "impossible": "infinite"}[sees]
    nodes = [
        _node("Slice", ["picture", "first", "second", "axes"], "corner"),
        _node("Div", ["picture", "zero"], "infinite"),
        _node("Sub", ["infinite" if sees == "impossible" else "picture", against], "change"),
        _node("Abs", ["change"], "distance"),
        _node("ReduceMax", ["distance", "channel"], "mask"),
    ]
    numbers = {"first": [0, 0], "second": [1, 1], "axes": [2, 3], "channel": [1]}
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"standin")
    graph += b"".join(_field(5, _integers(name, values)) for name, values in numbers.items())
    graph += _field(5, _field(1, 1) + _field(2, FLOAT) + _field(8, b"zero") + _field(9, bytes(4)))
    graph += _field(11, _floats("picture", [1, channels, side, side]))
    graph += _field(12, _floats("mask", [1, 1, side, side]))
    return _field(1, 9) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 18))


def _node(operator: str, inputs: list[str], output: str) -> bytes:
    named = b"".join(_field(1, name.encode()) for name in inputs)
    return named + _field(2, output.encode()) + _field(4, operator.encode())


def _integers(name: str, values: list[int]) -> bytes:
    """A constant: a list of 64-bit integers."""
    content = b"".join(value.to_bytes(8, "little") for value in values)
    return _field(1, len(values)) + _field(2, INT64) + _field(8, name.encode()) + _field(9, content)


def _floats(name: str, shape: list[int]) -> bytes:
    """The declaration of an input or output of 32-bit floats."""
    dimensions = b"".join(_field(1, _field(1, size)) for size in shape)
    tensor = _field(1, FLOAT) + _field(2, dimensions)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, value: int | bytes) -> bytes:
    """One field of a protobuf message: an integer, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
