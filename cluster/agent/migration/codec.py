"""The compressors of pages that are sent for real."""

from __future__ import annotations

from functools import cache

import lz4.frame
import zstandard

from cluster.agent.migration.framing import Data
from fusion.errors import FusionError
from fusion.migration.settings import Compression

#: What packs guest memory in QEMU (multifd-zstd-level) and zram: the fastest there is.
ZSTD_LEVEL = 1


def pack(data: bytes, compression: Compression) -> bytes:
    """Return ``data`` as one frame with a checksum; itself where nothing compresses."""
    match compression:
        case Compression.NONE:
            return data
        case Compression.LZ4:
            frame: bytes = lz4.frame.compress(data, content_checksum=True, store_size=True)
            return frame
        case Compression.ZSTD:
            return _zstd_compressor().compress(data)


def unpack(packed: Data, compression: Compression, size_bytes: int) -> Data:
    """Return the ``size_bytes`` that were packed; raises ``FusionError`` where they are damaged."""
    if compression is Compression.NONE:
        data = packed
    else:
        try:
            inside = _unpacked(packed.view, compression, size_bytes)
        except (RuntimeError, zstandard.ZstdError) as error:
            raise FusionError(
                f"pages packed with {compression} arrived damaged: {error}"
            ) from error
        data = Data(inside, 0, len(inside))
    if data.size_bytes != size_bytes:
        raise _damaged(compression, f"{data.size_bytes} bytes instead of {size_bytes}")
    return data


def _damaged(compression: Compression, why: str) -> FusionError:
    return FusionError(f"pages packed with {compression} arrived damaged: {why}")


def _unpacked(packed: memoryview, compression: Compression, size_bytes: int) -> bytes:
    """Return what is in a frame, without ever making more than is expected of it."""
    if compression is Compression.LZ4:
        frame = lz4.frame.LZ4FrameDecompressor()
        data: bytes = frame.decompress(packed, max_length=size_bytes)
        if not frame.eof:
            raise RuntimeError("the frame has no end where it should")
        return data
    if zstandard.frame_content_size(packed) != size_bytes:
        raise zstandard.ZstdError("the frame says that it is of another size")
    return _zstd_decompressor().decompress(packed)


@cache
def _zstd_compressor() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)


@cache
def _zstd_decompressor() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor()
