"""Named arrays as bytes: canonical content hash, safetensors with a checksum.

Every model and state file of Sparring is safetensors with one metadata entry of canonical JSON. No
pickle: reading foreign bytes can fail, but cannot run anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

Arrays = dict[str, NDArray[Any]]

_METADATA_KEY = "sparring"


def canonical_json(value: Any) -> str:
    """JSON text that is equal for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_hash(header: Any, arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 (hex) over a JSON-able header and named arrays, independent of their order."""
    digest = hashlib.sha256(canonical_json(header).encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(canonical_json([name, little.dtype.str, list(array.shape)]).encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def pack(metadata: Any, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Safetensors bytes of `arrays` with JSON-able `metadata` and a checksum of both."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    entry = canonical_json({"metadata": metadata, "sha256": content_hash(metadata, contiguous)})
    return save(contiguous, metadata={_METADATA_KEY: entry})


def unpack(data: bytes, source: str) -> tuple[Any, Arrays]:
    """Metadata and arrays of bytes made by `pack`.

    Raises ValueError, naming `source`, if the bytes are truncated, altered or of another kind.
    """
    try:
        header_length = int.from_bytes(data[:8], "little")
        if len(data) < 8 or header_length > len(data) - 8:
            raise ValueError("it is truncated or no safetensors file")
        header = json.loads(data[8 : 8 + header_length])
        entry = json.loads(header["__metadata__"][_METADATA_KEY])
        metadata, expected = entry["metadata"], entry["sha256"]
        arrays: Arrays = load(data)
        found = content_hash(metadata, arrays)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{source} cannot be read: Sparring did not write it") from error
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{source} cannot be read: {error}") from error
    if found != expected:
        raise ValueError(f"{source} is damaged: its content does not match its checksum")
    return metadata, arrays
