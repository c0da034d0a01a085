"""Read the networks that dlib stores in its .dat files.

The format is dlib's own serialisation (``dlib/serialize.h``, ``dlib/dnn/core.h`` and
``layers.h``). Every byte is checked: a file that is too short, too long or has unexpected content
is refused.
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
    """A pooling layer; a window of size 0 covers the whole picture."""

    kind: Literal["max", "average"]
    window: int
    stride: int
    padding: int


@dataclass(frozen=True, slots=True)
class AddPrevious:
    """Adds the output of an earlier layer; the file does not say which one."""


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """A matrix, shape ``(inputs, outputs)``, without bias."""

    matrix: Tensor


Layer = Convolution | Affine | Relu | PoolLayer | AddPrevious | Dense


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """The options of the sliding window in the MMOD file.

    Attributes:
        size_px: Side of the square window.
        max_iou: Boxes with a larger intersection over union are one face.
        max_covered: A box that another one covers by a larger share is the same face.
    """

    size_px: int
    max_iou: float
    max_covered: float


WINDOW = WindowOptions(size_px=80, max_iou=0.3382761351109955, max_covered=1.0)


@dataclass(frozen=True, slots=True, eq=False)
class DlibNetwork:
    """A network as stored in a file.

    Attributes:
        means: Subtracted from red, green and blue, before the division by 256.
        layers: From input to output.
        window: For a detector, else None.
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
        ModelError: If the content is damaged, or not one of the two supported networks.
    """
    reader = _DatReader(content)
    try:
        network = _read_network(reader)
        reader.expect_end()
    except _FormatError as error:
        raise ModelError(
            f"{name} cannot be read at byte {reader.position}: {error}; {REINSTALL}"
        ) from error
    return network


class _FormatError(Exception):
    """The file differs from the expected format."""


class _DatReader:
    """Reads dlib's primitive values, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._content):
            raise _FormatError("the file ends too early")
        taken = self._content[self.position : end]
        self.position = end
        return taken

    def integer(self) -> int:
        """Read one byte (number of bytes, 0x80 for negative), then the bytes, little-endian."""
        head = self.take(1)[0]
        if head & 0x70 or not 1 <= head & 0x0F <= 8:
            raise _FormatError("not an integer")
        value = int.from_bytes(self.take(head & 0x0F), "little")
        return -value if head & 0x80 else value

    def expect(self, *values: int) -> None:
        """Check that the given integers follow, one after the other."""
        for value in values:
            if self.integer() != value:
                raise _FormatError(f"the number {value} was expected")

    def size(self) -> int:
        """Read an integer that counts something."""
        value = self.integer()
        if not 0 <= value <= 1 << 20:
            raise _FormatError(f"{value} is not a size")
        return value

    def real(self) -> float:
        """Read a mantissa and an exponent of two."""
        mantissa, exponent = self.integer(), self.integer()
        if not -1100 < exponent < 1000:
            raise _FormatError("not a number")
        return float(mantissa) * 2.0**exponent

    def text(self) -> str:
        """Read a length and that number of bytes."""
        return self.take(self.size()).decode("ascii", "replace")

    def flags(self, count: int) -> None:
        """Skip booleans, written as the digits 0 and 1."""
        if set(self.take(count)) - set(b"01"):
            raise _FormatError("not a boolean")

    def tensor(self) -> Tensor:
        """Read a version, four sizes, then float32 values."""
        self.expect(2)
        shape = tuple(self.size() for _ in range(4))
        raw = self.take(4 * shape[0] * shape[1] * shape[2] * shape[3])
        values = np.frombuffer(raw, "<f4").reshape(shape)
        if not np.isfinite(values).all():
            raise _FormatError("a weight is not finite")
        return values

    def alias(self) -> tuple[int, ...]:
        """Read the shape of a part of a tensor."""
        self.expect(1)
        return tuple(self.size() for _ in range(4))

    def expect_end(self) -> None:
        if self.position != len(self._content):
            raise _FormatError("the file is too long")


def _read_network(reader: _DatReader) -> DlibNetwork:
    """Read wrappers from the outside in, the input, then layers from the inside out."""
    reader.expect(1)
    window = None
    match reader.text():
        case "loss_mmod_":
            window = _read_window_options(reader)
        case "loss_metric_2":
            # Margin and distance threshold: used in training only.
            reader.real(), reader.real()
        case other:
            raise _FormatError(f"a network of the kind {other!r} is unknown")
    count = _count_layers(reader)
    means = _read_input(reader)
    first = _read_layer(reader)
    # The layer on the input also stores how many tensors one picture becomes.
    reader.expect(1)
    return DlibNetwork(means, (first, *(_read_layer(reader) for _ in range(count - 1))), window)


def _read_window_options(reader: _DatReader) -> WindowOptions:
    reader.expect(1)
    width, height = reader.size(), reader.size()
    if width != height:
        raise _FormatError("the window is not square")
    # Losses per false alarm and per miss, and the overlap with the ground truth: training only.
    reader.real(), reader.real(), reader.real()
    max_iou, max_covered = reader.real(), reader.real()
    reader.real(), reader.real()
    return WindowOptions(width, max_iou, max_covered)


def _count_layers(reader: _DatReader) -> int:
    """Count the layers; each has a version: 2 for computing layers, 1 for tags."""
    count = 0
    while (version := reader.integer()) != 3:
        if version not in (1, 2):
            raise _FormatError(f"a layer of version {version} is unknown")
        count += version == 2
    return count + 1


def _read_input(reader: _DatReader) -> tuple[float, float, float]:
    kind = reader.text()
    means = reader.real(), reader.real(), reader.real()
    match kind:
        case "input_rgb_image_sized":
            reader.expect(150, 150)
        case "input_rgb_image_pyramid":
            pass
        case other:
            raise _FormatError(f"an input of the kind {other!r} is unknown")
    return means


def _read_layer(reader: _DatReader) -> Layer:
    kind = reader.text()
    read = _LAYERS.get(kind)
    if read is None:
        raise _FormatError(f"a layer of the kind {kind!r} is unknown")
    layer = read(reader)
    # Left over from training: three booleans and three empty tensors.
    reader.flags(3)
    for _ in range(3):
        reader.tensor()
    return layer


def _read_convolution(reader: _DatReader) -> Convolution:
    parameters = reader.tensor().ravel()
    count, height, width = reader.size(), reader.size(), reader.size()
    stride, across, padding, beside = (reader.size() for _ in range(4))
    shape, bias_shape = reader.alias(), reader.alias()
    _skip_rates(reader)
    weights = shape[0] * shape[1] * shape[2] * shape[3]
    agreed = (shape[0], *shape[2:]) == (count, height, width) and bias_shape == (1, count, 1, 1)
    if not agreed or (stride, padding) != (across, beside) or weights + count != parameters.size:
        raise _FormatError("the sizes of a convolution do not match")
    return Convolution(parameters[:weights].reshape(shape), parameters[weights:], stride, padding)


def _read_affine(reader: _DatReader) -> Affine:
    layer = _read_gain_and_offset(reader)
    reader.integer()
    return layer


def _read_batch_normalisation(reader: _DatReader) -> Affine:
    """Read a batch normalisation as what it is at inference: an affine layer."""
    trained = _read_gain_and_offset(reader)
    # Statistics of the last batch, then the running ones.
    reader.tensor(), reader.tensor()
    mean, variance = reader.tensor().ravel(), reader.tensor().ravel()
    reader.size(), reader.size()
    _skip_rates(reader)
    epsilon = reader.real()
    if not mean.size == variance.size == trained.gain.size or (variance < 0).any():
        raise _FormatError("the sizes of a normalisation do not match")
    if not 1e-8 < epsilon < 1:
        raise _FormatError("the epsilon of a normalisation is out of range")
    gain = trained.gain.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    return Affine(gain, trained.offset - gain * mean)


def _read_gain_and_offset(reader: _DatReader) -> Affine:
    parameters = reader.tensor().ravel()
    gain, offset = reader.alias(), reader.alias()
    if gain != offset or 2 * gain[1] != parameters.size or (gain[0], *gain[2:]) != (1, 1, 1):
        raise _FormatError("the shapes of a gain and its offset do not match")
    return Affine(parameters[: gain[1]], parameters[gain[1] :])


def _read_max_pool(reader: _DatReader) -> PoolLayer:
    return _read_pool("max", reader)


def _read_average_pool(reader: _DatReader) -> PoolLayer:
    return _read_pool("average", reader)


def _read_pool(kind: Literal["max", "average"], reader: _DatReader) -> PoolLayer:
    height, width, down, across, above, beside = (reader.size() for _ in range(6))
    if (height, down, above) != (width, across, beside):
        raise _FormatError("a pooling window is not square")
    return PoolLayer(kind, height, down, above)


def _read_dense(reader: _DatReader) -> Dense:
    outputs, inputs = reader.size(), reader.size()
    matrix = reader.tensor().reshape(-1)
    shape, no_biases = reader.alias(), reader.alias()
    reader.integer()
    _skip_rates(reader)
    if shape != (inputs, outputs, 1, 1) or any(no_biases) or matrix.size != inputs * outputs:
        raise _FormatError("the sizes of a matrix do not match")
    return Dense(matrix.reshape(inputs, outputs))


def _skip_rates(reader: _DatReader) -> None:
    """Skip learning rates and weight decays of weights and biases: training only."""
    for _ in range(4):
        reader.real()


_LAYERS: dict[str, Callable[[_DatReader], Layer]] = {
    "con_4": _read_convolution,
    "affine_": _read_affine,
    "bn_con2": _read_batch_normalisation,
    "relu_": lambda _: Relu(),
    "max_pool_2": _read_max_pool,
    "avg_pool_2": _read_average_pool,
    "add_prev_": lambda _: AddPrevious(),
    "fc_2": _read_dense,
}
