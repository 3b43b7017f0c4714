"""Arrays out of foreign pickles: right ones are read, all others refused, nothing ever runs."""

import builtins
import io
import os
import pickle
import struct
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.array_pickle import read_array

ARRAY = np.random.default_rng(0).standard_normal(50).astype(np.float32)
every_protocol = pytest.mark.parametrize("protocol", range(6))

# Written as a Python 2 with an old NumPy does: names of the old module, numbers as a byte string.
PYTHON_2 = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87R"
    b"(K\x01K\x32\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff"
    b"\xff\xffK\x00tb\x89U\xc8" + ARRAY.tobytes() + b"tb."
)


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


class TestRightOnes:
    @every_protocol
    @pytest.mark.parametrize("order", ["<f4", ">f4"])
    def test_every_protocol_and_byte_order(self, protocol: int, order: str) -> None:
        data = pickle.dumps(ARRAY.astype(order), protocol)
        array = read_array(data, "it")
        np.testing.assert_array_equal(array, ARRAY)
        assert array.dtype == np.float32
        array[0] = 1.0  # a copy, not a view of the file

    def test_python_2(self) -> None:
        np.testing.assert_array_equal(read_array(PYTHON_2, "it"), ARRAY)


class TestCalls:
    @every_protocol
    @pytest.mark.parametrize(
        ("function", "name"),
        [
            (os.system, "posix.system"),
            (subprocess.Popen, "Popen"),
            (builtins.eval, "eval"),
            (builtins.getattr, "getattr"),
            (np.load, "numpy.load"),
            (np.save, "numpy.save"),
            (np.fromfile, "fromfile"),
            (np.memmap, "memmap"),
            (io.open, "io.open"),
            (pickle.loads, "pickle.loads"),
        ],
    )
    def test_refused_by_name(
        self, function: Callable[..., Any], name: str, protocol: int, tmp_path: Path
    ) -> None:
        trace = tmp_path / "ran"
        data = pickle.dumps(Call(function, f"touch {trace}"), protocol)
        with pytest.raises(ValueError, match=rf"it wants to call .*{name}.*nothing was run"):
            read_array(data, "it")
        assert not trace.exists()

    @every_protocol
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda call: [call],
            lambda call: {"weights": call},
            lambda call: (1, [[{"deep": (1.5, [call])}], {}]),
            lambda call: [ARRAY, call],
        ],
    )
    def test_found_inside_containers(self, wrap: Callable[[Call], Any], protocol: int) -> None:
        data = pickle.dumps(wrap(Call(os.system, "true")), protocol)
        with pytest.raises(ValueError, match=r"wants to call posix\.system"):
            read_array(data, "it")

    @pytest.mark.parametrize("kind", [set, frozenset])
    def test_found_inside_sets(self, kind: type[set[Call]]) -> None:
        data = pickle.dumps([kind(), kind([Call(os.system, "true")])], 4)
        with pytest.raises(ValueError, match=r"wants to call posix\.system"):
            read_array(data, "it")

    @pytest.mark.parametrize(
        "data",
        [
            b"(S'true'\nios\nsystem\n.",
            b"cos\nsystem\n(S'true'\ntR.",
            b"(cos\nsystem\nS'true'\no.",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
            b"\x80\x02cos\nsystem\n)\x81.",
        ],
        ids=["INST", "GLOBAL", "OBJ", "STACK_GLOBAL", "NEWOBJ"],
    )
    def test_every_opcode_that_calls(self, data: bytes) -> None:
        with pytest.raises(ValueError, match=r"wants to call os\.system"):
            read_array(data, "it")

    @pytest.mark.parametrize(
        "data",
        [b"\x82\x01.", b"Pperson\n.", b"U\x01xQ.", b"\x80\x05\x97.", b"cnumpy\nndarray\n)\x81."],
        ids=["EXT1", "PERSID", "BINPERSID", "NEXT_BUFFER", "NEWOBJ"],
    )
    def test_other_opcodes(self, data: bytes) -> None:
        with pytest.raises(ValueError, match="which no array needs; nothing was run"):
            read_array(data, "it")

    @pytest.mark.parametrize(
        "data",
        [
            b"cnumpy\nndarray\n(I9\nI9\nttR.",
            b"cnumpy\nndarray\n}b.",
            b"cnumpy\ndtype\n(S'f4'\ntRS'x'\nb.",
            b"S'x'\n)R.",
            b"N.",
            b"cnumpy\nndarray\n.",
            b"R.",
            b"t.",
            b"g7\n.",
            b"0.",
        ],
    )
    def test_admitted_names_in_odd_places(self, data: bytes) -> None:
        with pytest.raises(ValueError, match="it cannot be read"):
            read_array(data, "it")


class TestContents:
    @every_protocol
    @pytest.mark.parametrize(
        "content",
        [
            ARRAY.astype(np.float64),
            ARRAY.astype(np.float16),
            ARRAY.astype(np.int32),
            ARRAY.reshape(5, 10),
            np.array(1.0, np.float32),
            np.array([object(), None], object),
            np.array([1], [("a", "f4")]),
            [ARRAY, ARRAY],
            {"weights": ARRAY},
            (ARRAY,),
            ARRAY.tolist(),
            ARRAY.tobytes(),
            ARRAY[0],
            None,
            "",
        ],
        ids=lambda content: str(getattr(content, "dtype", type(content).__name__)),
    )
    def test_anything_but_one_flat_float32_array(self, content: Any, protocol: int) -> None:
        with pytest.raises(ValueError, match="it cannot be read"):
            read_array(pickle.dumps(content, protocol), "it")

    def test_the_dtype_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"dtype 'f8', not float32 \('f4'\)"):
            read_array(pickle.dumps(ARRAY.astype(np.float64), 2), "it")

    def test_an_object_array_of_calls(self) -> None:
        array = np.array([Call(os.system, "true")], object)
        with pytest.raises(ValueError, match=r"wants to call posix\.system"):
            read_array(pickle.dumps(array, 2), "it")

    def test_bytes_after_the_end(self) -> None:
        with pytest.raises(ValueError, match="bytes follow the end"):
            read_array(pickle.dumps(ARRAY, 3) + b"more", "it")

    @pytest.mark.parametrize(
        "count", [b"K\x31", b"K\x33", b"J\xff\xff\xff\xff", b"\x8a\x08" + b"\x7f" * 8]
    )
    def test_a_shape_that_is_not_that_of_the_numbers(self, count: bytes) -> None:
        data = PYTHON_2.replace(b"K\x32\x85", count + b"\x85")
        with pytest.raises(ValueError, match=r"should hold -?\d+ numbers but has 50"):
            read_array(data, "it")

    @pytest.mark.parametrize(
        "bomb",
        [
            # a call of _reconstruct for 2**40 numbers
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L1099511627776L\ntS'f'\ntR.",
            # the memo of pickle.Unpickler would grow to 64 GiB
            b"Nr\xff\xff\xff\xff.",
            # text, bytes and an integer that claim gigabytes
            b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
            b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
            b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
            # tuples of tuples: 2**60 leaves
            b")" + b"q\x00h\x00h\x00\x86" * 30 + b".",
            # lists in lists in lists
            b"]" * 100_000 + b".",
        ],
        ids=["shape", "memo", "text", "bytes", "integer", "laughs", "depth"],
    )
    def test_bombs_allocate_nothing(self, bomb: bytes) -> None:
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match="it cannot be read"):
                read_array(bomb, "it")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 2_000_000


class TestDamage:
    @every_protocol
    def test_truncated_anywhere(self, protocol: int) -> None:
        data = pickle.dumps(ARRAY, protocol)
        for length in range(len(data)):
            with pytest.raises(ValueError, match="it is truncated or no pickle"):
                read_array(data[:length], "it")

    @given(st.data())
    def test_mutated_bytes(self, data: st.DataObject) -> None:
        content = bytearray(pickle.dumps(ARRAY, data.draw(st.integers(0, 5))))
        for _ in range(data.draw(st.integers(1, 6))):
            at = data.draw(st.integers(0, len(content)))
            length = data.draw(st.integers(0, 3))
            content[at : at + length] = data.draw(st.binary(max_size=3))
        _read_or_refuse(bytes(content))

    @given(st.binary())
    def test_any_bytes(self, data: bytes) -> None:
        _read_or_refuse(data)

    @given(
        st.lists(
            st.sampled_from(
                [bytes([opcode]) for opcode in b"()tRb]}ae\x85\x86\x87N\x88\x89\x94\x93o\x810."]
                + [b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"c_codecs\nencode\n"]
                + [b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.numeric\n_frombuffer\n"]
                + [b"K\x01", b"K\x02", b"K\x05", b"U\x02f4", b"U\x01<", b"C\x04abcd", b"C\x01a"]
                + [b"q\x00", b"q\x01", b"h\x00", b"h\x01", b"X\x01\x00\x00\x00a", b"L1L\n"]
            ),
            max_size=40,
        )
    )
    def test_any_opcodes(self, opcodes: list[bytes]) -> None:
        _read_or_refuse(b"".join(opcodes) + b".")


def _read_or_refuse(data: bytes) -> None:
    try:
        array = read_array(data, "it")
    except ValueError:
        with pytest.raises(ValueError, match=r"^it cannot be read: "):
            read_array(data, "it")
    else:
        assert array.dtype == np.float32
        assert array.ndim == 1
        assert array.nbytes <= len(data)
