"""A reader of Megatron-LM's IndexedDataset, from the description of the format alone."""

import struct

import numpy as np

TYPES = {1: "<u1", 4: "<i4", 5: "<i8", 8: "<u2"}


def read_indexed_dataset(tokens, index):
    """Read all sequences and the documents."""
    assert index[:9] == b"MMIDIDX\x00\x00"
    (version,) = struct.unpack_from("<Q", index, 9)
    (code,) = struct.unpack_from("<B", index, 17)
    sequences, documents = struct.unpack_from("<QQ", index, 18)
    lengths = struct.unpack_from(f"<{sequences}i", index, 34)
    pointers = struct.unpack_from(f"<{sequences}q", index, 34 + 4 * sequences)
    ends = struct.unpack_from(f"<{documents}q", index, 34 + 12 * sequences)
    assert version == 1 and len(index) == 34 + 12 * sequences + 8 * documents
    dtype = np.dtype(TYPES[code])
    size = dtype.itemsize
    rows = [
        np.array([int.from_bytes(tokens[first + size * at :][:size], "little") for at in range(length)])
        for first, length in zip(pointers, lengths, strict=True)
    ]
    return dtype, rows, ends
