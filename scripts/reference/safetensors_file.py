"""Reads and writes safetensors files, limited to the parts of the format that are needed here.

A file consists of the length of the header (unsigned 64-bit, little-endian); the header, a
JSON object that maps each tensor's name to its dtype, shape and data_offsets (begin and end,
counted from the first byte after the header); and the tensors' values, little-endian, row by
row, without gaps between tensors.
"""

import json
import struct
from pathlib import Path

import torch

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def byte_count(tensor: torch.Tensor) -> int:
    """The number of bytes of the tensor's values in a file."""
    return tensor.numel() * tensor.element_size()


def read(path: Path) -> dict[str, torch.Tensor]:
    """Returns every tensor in the file by name, in its stored dtype."""
    tensors = {}
    with open(path, "rb") as file:
        (header_length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            file.seek(8 + header_length + begin)
            values = bytearray(file.read(end - begin))
            tensor = torch.frombuffer(values, dtype=DTYPES[entry["dtype"]])
            tensors[name] = tensor.reshape(entry["shape"])
    return tensors


def write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Writes the tensors in the given order, so that an offset may be any number of bytes.

    The header is padded with spaces to a multiple of 8 bytes, as usual.
    """
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + byte_count(tensor)
        header[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(encoded)))
        file.write(encoded)
        for tensor in tensors.values():
            file.write(_as_bytes(tensor))


def _as_bytes(tensor: torch.Tensor) -> bytes:
    tensor = tensor.contiguous()
    if tensor.dtype == torch.bfloat16:  # NumPy has no bfloat16; the bits are the same
        tensor = tensor.view(torch.int16)
    values = tensor.numpy()
    return values.astype(values.dtype.newbyteorder("<")).tobytes()
