"""One flat float32 array out of a pickle, without running anything that the pickle says.

A pickle is a program, and `pickle.load` runs it. Here its opcodes are read as data: the few that
build one NumPy array are followed on paper (a call is noted, never made), all others are refused.
NumPy's own reconstruction is not called either: a pickle may ask it for terabytes.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# An array takes some 50 opcodes; more of them can only be another kind of file.
_MAX_OPCODES = 200

_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")

# What NumPy writes, by version of NumPy and of the pickle protocol: name -> what we note.
_ADMITTED = {
    **{f"{module}._reconstruct": "array" for module in _MULTIARRAY},
    **{f"{module}._frombuffer": "buffer" for module in _NUMERIC},
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    "_codecs.encode": "encode",
}


@dataclass(frozen=True)
class _Global:
    path: str
    kind: str


@dataclass(frozen=True, eq=False)
class _Noted:
    """A call that a real unpickler would make. The state comes with a later opcode."""

    kind: str
    arguments: tuple[Any, ...]


class _Mark:
    pass


class _Container:
    """A list, dict or set: read over, so that the error can name what is inside."""


_CONSTANTS: dict[str, Any] = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "EMPTY_TUPLE": (),
}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_LITERALS = _NUMBERS | _STRINGS | _TEXTS | _BYTES
_EMPTY_CONTAINERS = frozenset(["EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"])
_MARKED_CONTAINERS = frozenset(["LIST", "DICT", "FROZENSET"])
_DISCARDED_ITEMS = {"APPEND": 1, "SETITEM": 2}
_DISCARDED_MARKED_ITEMS = frozenset(["APPENDS", "SETITEMS", "ADDITEMS"])
_TUPLE_LENGTHS = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Reader:
    """Follows the opcodes of one pickle; what they would leave on the stack is on `stack`.

    `states` holds what a real unpickler would hand to `__setstate__` of the noted calls.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.states: dict[_Noted, tuple[Any, ...]] = {}
        self._memo: dict[int, Any] = {}
        self._handlers: dict[str, Callable[[Any], None]] = {
            "GLOBAL": lambda argument: self._global(*argument.split(" ", 1)),
            "INST": lambda argument: self._global(*argument.split(" ", 1)),
            "STACK_GLOBAL": lambda _: self._global(*self._pop(2)),
            "REDUCE": lambda _: self._call(*self._pop(2)),
            "BUILD": lambda _: self._build(*self._pop(2)),
            "MARK": lambda _: self.stack.append(_Mark()),
            "TUPLE": lambda _: self.stack.append(self._pop_to_mark()),
            "MEMOIZE": lambda _: self._put(len(self._memo)),
            **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), self._put),
            **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), self._get),
            **dict.fromkeys(("PROTO", "FRAME"), lambda _: None),
        }

    def follow(self, opcode: str, argument: Any) -> None:
        """Takes note of one opcode. Raises ValueError on one that an array does not need."""
        if opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode])
        elif opcode in _LITERALS:
            self.stack.append(argument)
        elif opcode in _TUPLE_LENGTHS:
            self.stack.append(self._pop(_TUPLE_LENGTHS[opcode]))
        elif opcode in self._handlers:
            self._handlers[opcode](argument)
        else:
            self._follow_container(opcode)

    def _follow_container(self, opcode: str) -> None:
        if opcode in _EMPTY_CONTAINERS:
            self.stack.append(_Container())
        elif opcode in _MARKED_CONTAINERS:
            self._pop_to_mark()
            self.stack.append(_Container())
        elif opcode in _DISCARDED_ITEMS:
            self._pop(_DISCARDED_ITEMS[opcode])
        elif opcode in _DISCARDED_MARKED_ITEMS:
            self._pop_to_mark()
        else:
            raise ValueError(f"it uses {opcode}, which no array needs; nothing was run")

    def _pop(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise ValueError("its opcodes make no sense")
        taken = tuple(self.stack[-count:])
        del self.stack[-count:]
        return taken

    def _pop_to_mark(self) -> tuple[Any, ...]:
        for position in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[position], _Mark):
                taken = tuple(self.stack[position + 1 :])
                del self.stack[position:]
                return taken
        raise ValueError("its opcodes make no sense")

    def _put(self, key: int) -> None:
        (self._memo[key],) = self._pop(1)
        self.stack.append(self._memo[key])

    def _get(self, key: int) -> None:
        if key not in self._memo:
            raise ValueError("its opcodes make no sense")
        self.stack.append(self._memo[key])

    def _global(self, module: object, name: object = "") -> None:
        path = f"{_shown(module)}.{_shown(name)}"
        if path not in _ADMITTED:
            raise ValueError(
                f"it wants to call {path}, but only NumPy arrays are admitted; nothing was run"
            )
        self.stack.append(_Global(path, _ADMITTED[path]))

    def _call(self, function: object, arguments: object) -> None:
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise ValueError("it calls something that is no function; nothing was run")
        if function.kind == "ndarray":
            raise ValueError("it wants to call numpy.ndarray; nothing was run")
        self.stack.append(_Noted(function.kind, arguments))

    def _build(self, target: object, state: object) -> None:
        if not isinstance(target, _Noted) or not isinstance(state, tuple):
            raise ValueError("it gives a state to something that is no array; nothing was run")
        self.stack.append(target)
        self.states[target] = state


def _shown(part: object) -> str:
    return part[:80] if isinstance(part, str) else "?"


def read_array(data: bytes, source: str) -> NDArray[np.float32]:
    """The flat float32 array that is the whole content of a pickle of any protocol.

    Raises ValueError, naming `source` and what is wrong: truncated, no pickle, another content than
    one flat float32 array. Nothing that the pickle names is called.
    """
    reader = _Reader()
    try:
        for opcode, argument in _opcodes(data):
            reader.follow(opcode, argument)
        return _array(reader)
    except ValueError as error:
        raise ValueError(f"{source} cannot be read: {error}") from error


def _opcodes(data: bytes) -> Iterator[tuple[str, Any]]:
    """Opcodes and arguments up to STOP. Raises ValueError unless STOP is the last byte."""
    opcodes = pickletools.genops(data)
    for _ in range(_MAX_OPCODES):
        try:
            # Odd escapes in a foreign string are Python's to deprecate, not ours to warn of.
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                opcode, argument, position = next(opcodes)
        except ValueError as error:
            raise ValueError(f"it is truncated or no pickle ({error})") from error
        if opcode.name != "STOP":
            yield opcode.name, argument
        elif position != len(data) - 1:
            raise ValueError("bytes follow the end of the pickle")
        else:
            return
    raise ValueError("it holds more than one NumPy array; nothing was run")


def _array(reader: _Reader) -> NDArray[np.float32]:
    if len(reader.stack) != 1 or not isinstance(reader.stack[0], _Noted):
        raise ValueError("it does not hold one NumPy array; nothing was run")
    noted: _Noted = reader.stack[0]
    if noted.kind == "buffer" and len(noted.arguments) == 4:
        content, dtype, shape, _ = noted.arguments
    elif noted.kind == "array" and len(reader.states.get(noted, ())) == 5:
        _, shape, dtype, _, content = reader.states[noted]
    else:
        raise ValueError("it does not hold one NumPy array; nothing was run")
    if not isinstance(shape, tuple) or len(shape) != 1 or type(shape[0]) is not int:
        raise ValueError("its array is not flat")
    numbers = np.frombuffer(_bytes(content), _float32(dtype, reader.states))
    if len(numbers) != shape[0]:
        raise ValueError(f"its array should hold {shape[0]} numbers but has {len(numbers)}")
    return numbers.astype(np.float32)


def _float32(dtype: object, states: dict[_Noted, tuple[Any, ...]]) -> np.dtype[np.float32]:
    """The dtype, in the byte order the pickle gives. Raises ValueError on any but float32."""
    if not isinstance(dtype, _Noted) or dtype.kind != "dtype":
        raise ValueError("its array has no dtype")
    code = dtype.arguments[0] if dtype.arguments else None
    state = states.get(dtype, ())
    order = state[1] if len(state) > 1 else "<"
    if code != "f4" or order not in ("<", ">"):
        raise ValueError(f"its array is of dtype {_shown(code)!r}, not float32 ('f4')")
    return np.dtype(np.float32).newbyteorder(">" if order == ">" else "<")


def _bytes(content: object) -> bytes:
    """The numbers: bytes, or text of one byte a character (Python 2, or `_codecs.encode`)."""
    if isinstance(content, _Noted) and content.kind == "encode" and content.arguments:
        content = content.arguments[0]
    if isinstance(content, str):
        content = content.encode("latin-1")
    if not isinstance(content, (bytes, bytearray)) or len(content) % 4:
        raise ValueError("its array holds no float32 numbers")
    return bytes(content)
