"""Reading a pickle that is made of plain values and arrays of bytes, of which nothing can run."""

import io
import pickle
import pickletools
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NotAdmittedError", "PlainArray", "read_plain_pickle"]


def read_plain_pickle(raw: bytes) -> Any:
    """Dictionaries, lists, texts, numbers, and a `PlainArray` for each array.

    Args:
        raw: the whole file.

    Raises:
        NotAdmittedError: it names anything else.
        Exception: it is damaged; as `pickle.Unpickler`, and as what makes values of damaged parts.
    """
    _check_claims(raw)
    return _Unpickler(io.BytesIO(raw), encoding="latin1").load()


def _check_claims(raw: bytes) -> None:
    """Refuse a pickle that claims to hold more than it does.

    Python makes room for as many objects as it is told of, before it sees whether they come: six bytes can ask for 32 GiB.
    Texts and arrays that are longer than the file are found by reading it through, which makes nothing of them.
    """
    for opcode, argument, _ in pickletools.genops(raw):
        if opcode.name in ("PUT", "LONG_BINPUT") and isinstance(argument, int) and argument > len(raw):
            raise pickle.UnpicklingError(f"it has an object of number {argument}, and {len(raw)} bytes")


class NotAdmittedError(pickle.UnpicklingError):
    """A pickle names something that is not in `_STAND_INS`."""


class _Unpickler(pickle.Unpickler):
    """Reads dictionaries, lists, text, numbers and arrays of bytes; whatever else is named is refused before it is imported.

    Not even numpy is called, whose own reconstruction trusts what the file says of memory: a stand-in keeps the bytes.
    """

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name."""
        try:
            return _STAND_INS[module.replace("numpy._core", "numpy.core"), name]
        except KeyError:
            raise NotAdmittedError(f"{module}.{name}") from None


class PlainArray:
    """The bytes and the shape of an array."""

    def __init__(self, *_: object) -> None:
        """Made empty, like ``numpy.core.multiarray._reconstruct`` does."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, fortran, self.raw = state
        self.order = "F" if fortran else "C"

    def pixels(self) -> NDArray[np.uint8]:
        """The array, which must be of bytes."""
        code = getattr(self.dtype, "code", None)
        if code not in ("u1", "|u1"):
            raise ValueError(f"it is {code}, not u1")
        raw = self.raw.encode("latin1") if isinstance(self.raw, str) else bytes(memoryview(self.raw))
        return np.frombuffer(raw, np.uint8).reshape(self.shape, order="F" if self.order == "F" else "C")


class _Buffer(PlainArray):
    """An array of pickle protocol 5: ``numpy.core.numeric._frombuffer``."""

    def __init__(self, raw: Any, dtype: Any, shape: Any, order: Any) -> None:
        self.raw, self.dtype, self.shape, self.order = raw, dtype, shape, order


class _Dtype:
    """The code of a ``numpy.dtype``; its state, which says what is default for bytes, is not looked at."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Nothing: a pickle can change neither an object nor, as it could without this method, the class."""


class _Encoded(bytes):
    """The bytes that Python 3 writes in protocol 2 as the call ``_codecs.encode(text, "latin1")``."""

    def __new__(cls, text: str, _: str) -> "_Encoded":
        return super().__new__(cls, text.encode("latin1"))

    def __setstate__(self, state: object) -> None:
        """See `_Dtype`."""


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy.core.multiarray", "_reconstruct"): PlainArray,
    ("numpy.core.numeric", "_frombuffer"): _Buffer,
    ("numpy", "ndarray"): PlainArray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Encoded,
}
