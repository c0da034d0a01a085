"""Reads the networks that dlib stores in its .dat files.

The format is dlib's own serialisation (``dlib/serialize.h``, ``dlib/dnn/core.h`` and
``layers.h``). Every byte is accounted for: a file that ends early, goes on too long or
holds anything unexpected is refused, never guessed at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from portraitd.faces.models.weights import REINSTALL
from portraitd.model.errors import ModelError

Tensor = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """A convolution with bias.

    Attributes:
        filters: Shape ``(filters, channels, height, width)``.
        biases: Shape ``(filters,)``.
        stride, padding: In pixels, the same for both axes.
    """

    filters: Tensor
    biases: Tensor
    stride: int
    padding: int


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """``gain * x + offset`` per channel; both of shape ``(channels,)``."""

    gain: NDArray[np.floating]
    offset: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Relu:
    """Negative values become zero."""


@dataclass(frozen=True, slots=True)
class PoolLayer:
    """A pooling layer; a window of size 0 spans the whole picture."""

    kind: Literal["max", "average"]
    window: int
    stride: int
    padding: int


@dataclass(frozen=True, slots=True)
class AddPrevious:
    """Adds what an earlier layer gave; which one, the file does not say."""


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """A matrix, shape ``(inputs, outputs)``, without bias."""

    matrix: Tensor


Layer = Convolution | Affine | Relu | PoolLayer | AddPrevious | Dense


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """What the MMOD file says about its sliding window.

    Attributes:
        size_px: Side of the square window.
        overlap: Boxes with a larger intersection over union are one face.
        covered: Boxes of which a larger part is covered are one face.
    """

    size_px: int
    overlap: float
    covered: float


WINDOW = WindowOptions(size_px=80, overlap=0.3382761351109955, covered=1.0)


@dataclass(frozen=True, slots=True, eq=False)
class DlibNetwork:
    """A network as it lies in a file.

    Attributes:
        means: Subtracted from red, green and blue, before the division by 256.
        layers: From input to output.
        window: For a detector.
    """

    means: tuple[float, float, float]
    layers: tuple[Layer, ...]
    window: WindowOptions | None


def parse_network(content: bytes, name: str) -> DlibNetwork:
    """Read a network from the content of a .dat file.

    Args:
        content: The whole file.
        name: For the error message.

    Raises:
        ModelError: If the content is damaged, or no network of the two kinds known here.
    """
    reader = _Reader(content)
    try:
        network = _network(reader)
        reader.expect_end()
    except _UnexpectedError as error:
        raise ModelError(
            f"{name} cannot be read at byte {reader.position}: {error}; {REINSTALL}"
        ) from error
    return network


class _UnexpectedError(Exception):
    """What was read is not what has to stand there."""


class _Reader:
    """dlib's primitive values, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._content):
            raise _UnexpectedError("the file ends too early")
        taken = self._content[self.position : end]
        self.position = end
        return taken

    def integer(self) -> int:
        """One byte (count of bytes, 0x80 for negative), then the bytes, little-endian."""
        head = self.take(1)[0]
        if head & 0x70 or not 1 <= head & 0x0F <= 8:
            raise _UnexpectedError("no integer")
        value = int.from_bytes(self.take(head & 0x0F), "little")
        return -value if head & 0x80 else value

    def expect(self, *values: int) -> None:
        """The given integers, one after the other."""
        for value in values:
            if self.integer() != value:
                raise _UnexpectedError(f"the number {value} was expected")

    def size(self) -> int:
        """An integer that counts something."""
        value = self.integer()
        if not 0 <= value <= 1 << 20:
            raise _UnexpectedError(f"{value} is no size")
        return value

    def real(self) -> float:
        """A mantissa and an exponent of two."""
        mantissa, exponent = self.integer(), self.integer()
        if not -1100 < exponent < 1000:
            raise _UnexpectedError("no number")
        return float(mantissa) * 2.0**exponent

    def text(self) -> str:
        """A length and as many bytes."""
        return self.take(self.size()).decode("ascii", "replace")

    def flags(self, count: int) -> None:
        """Booleans, written as the digits 0 and 1; none of them matters here."""
        if set(self.take(count)) - set(b"01"):
            raise _UnexpectedError("no truth value")

    def tensor(self) -> Tensor:
        """A version, four sizes, then float32 values."""
        self.expect(2)
        shape = tuple(self.size() for _ in range(4))
        raw = self.take(4 * shape[0] * shape[1] * shape[2] * shape[3])
        values = np.frombuffer(raw, "<f4").reshape(shape)
        if not np.isfinite(values).all():
            raise _UnexpectedError("a weight is not finite")
        return values

    def alias(self) -> tuple[int, ...]:
        """The shape of a part of a tensor."""
        self.expect(1)
        return tuple(self.size() for _ in range(4))

    def expect_end(self) -> None:
        if self.position != len(self._content):
            raise _UnexpectedError("the file goes on")


def _network(reader: _Reader) -> DlibNetwork:
    """Wrappers from the outside in, the input, then the layers from the inside out."""
    reader.expect(1)
    window = None
    match reader.text():
        case "loss_mmod_":
            window = _window_options(reader)
        case "loss_metric_2":
            # Margin and distance threshold: used in training only.
            reader.real(), reader.real()
        case other:
            raise _UnexpectedError(f"a network of the kind {other!r} is unknown")
    count = _count_layers(reader)
    means = _input(reader)
    first = _layer(reader)
    # The layer on the input also says how many tensors one picture becomes.
    reader.expect(1)
    return DlibNetwork(means, (first, *(_layer(reader) for _ in range(count - 1))), window)


def _window_options(reader: _Reader) -> WindowOptions:
    reader.expect(1)
    width, height = reader.size(), reader.size()
    if width != height:
        raise _UnexpectedError("the window is not square")
    # Losses per false alarm and per miss, and when a box was the truth: training only.
    reader.real(), reader.real(), reader.real()
    overlap, covered = reader.real(), reader.real()
    reader.real(), reader.real()
    return WindowOptions(width, overlap, covered)


def _count_layers(reader: _Reader) -> int:
    """Each layer wraps the one below with a version: 2 computes, 1 only names a place."""
    count = 0
    while (version := reader.integer()) != 3:
        if version not in (1, 2):
            raise _UnexpectedError(f"a layer of version {version} is unknown")
        count += version == 2
    return count + 1


def _input(reader: _Reader) -> tuple[float, float, float]:
    kind = reader.text()
    means = reader.real(), reader.real(), reader.real()
    match kind:
        case "input_rgb_image_sized":
            reader.expect(150, 150)
        case "input_rgb_image_pyramid":
            pass
        case other:
            raise _UnexpectedError(f"an input of the kind {other!r} is unknown")
    return means


def _layer(reader: _Reader) -> Layer:
    kind = reader.text()
    read = _LAYERS.get(kind)
    if read is None:
        raise _UnexpectedError(f"a layer of the kind {kind!r} is unknown")
    layer = read(reader)
    # What training left behind: three truth values and three tensors, empty.
    reader.flags(3)
    for _ in range(3):
        reader.tensor()
    return layer


def _convolution(reader: _Reader) -> Convolution:
    parameters = reader.tensor().ravel()
    count, height, width = reader.size(), reader.size(), reader.size()
    stride, across, padding, beside = (reader.size() for _ in range(4))
    shape, bias_shape = reader.alias(), reader.alias()
    _skip_rates(reader)
    weights = shape[0] * shape[1] * shape[2] * shape[3]
    agreed = (shape[0], *shape[2:]) == (count, height, width) and bias_shape == (1, count, 1, 1)
    if not agreed or (stride, padding) != (across, beside) or weights + count != parameters.size:
        raise _UnexpectedError("a convolution contradicts itself")
    return Convolution(parameters[:weights].reshape(shape), parameters[weights:], stride, padding)


def _affine(reader: _Reader) -> Affine:
    layer = _gain_and_offset(reader)
    reader.integer()
    return layer


def _batch_normalisation(reader: _Reader) -> Affine:
    """What dlib makes of it when it runs: the running statistics, fixed."""
    trained = _gain_and_offset(reader)
    # Statistics of the last batch, then the running ones.
    reader.tensor(), reader.tensor()
    mean, variance = reader.tensor().ravel(), reader.tensor().ravel()
    reader.size(), reader.size()
    _skip_rates(reader)
    epsilon = reader.real()
    if not mean.size == variance.size == trained.gain.size or (variance < 0).any():
        raise _UnexpectedError("a normalisation contradicts itself")
    if not 1e-8 < epsilon < 1:
        raise _UnexpectedError("a variance is hardly kept from zero")
    gain = trained.gain.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    return Affine(gain, trained.offset - gain * mean)


def _gain_and_offset(reader: _Reader) -> Affine:
    parameters = reader.tensor().ravel()
    gain, offset = reader.alias(), reader.alias()
    if gain != offset or 2 * gain[1] != parameters.size or (gain[0], *gain[2:]) != (1, 1, 1):
        raise _UnexpectedError("a gain contradicts its offset")
    return Affine(parameters[: gain[1]], parameters[gain[1] :])


def _max_pool(reader: _Reader) -> PoolLayer:
    return _pool("max", reader)


def _average_pool(reader: _Reader) -> PoolLayer:
    return _pool("average", reader)


def _pool(kind: Literal["max", "average"], reader: _Reader) -> PoolLayer:
    height, width, down, across, above, beside = (reader.size() for _ in range(6))
    if (height, down, above) != (width, across, beside):
        raise _UnexpectedError("a pooling window is not square")
    return PoolLayer(kind, height, down, above)


def _dense(reader: _Reader) -> Dense:
    outputs, inputs = reader.size(), reader.size()
    matrix = reader.tensor().reshape(-1)
    shape, no_biases = reader.alias(), reader.alias()
    reader.integer()
    _skip_rates(reader)
    if shape != (inputs, outputs, 1, 1) or any(no_biases) or matrix.size != inputs * outputs:
        raise _UnexpectedError("a matrix contradicts itself")
    return Dense(matrix.reshape(inputs, outputs))


def _skip_rates(reader: _Reader) -> None:
    """Learning rate and weight decay of weights and biases: training only."""
    for _ in range(4):
        reader.real()


_LAYERS: dict[str, Callable[[_Reader], Layer]] = {
    "con_4": _convolution,
    "affine_": _affine,
    "bn_con2": _batch_normalisation,
    "relu_": lambda _: Relu(),
    "max_pool_2": _max_pool,
    "avg_pool_2": _average_pool,
    "add_prev_": lambda _: AddPrevious(),
    "fc_2": _dense,
}
