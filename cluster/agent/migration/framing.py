"""Messages with pages as they go onto the wire, with the data copied once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc

from cluster.rpc.v1 import migration_pb2 as pb

#: Opens a call of ``Migration.Receive``.
Receive = Callable[[], grpc.aio.StreamStreamCall[pb.Outgoing | bytes, pb.Incoming]]

_RECEIVE = f"/{pb.DESCRIPTOR.services_by_name['Migration'].full_name}/Receive"


def _key(field: int) -> bytes:
    """Return the key of a field of bytes."""
    return _varint(field << 3 | 2)


def _varint(value: int) -> bytes:
    """Return ``value`` in base 128, the lowest digits first."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


_PAGES = _key(pb.Outgoing.PAGES_FIELD_NUMBER)
_DATA = _key(pb.Pages.DATA_FIELD_NUMBER)


def framed(pages: pb.Pages, data: Sequence[bytes | memoryview]) -> bytes:
    """Return an ``Outgoing`` with ``pages`` and the pieces of its ``data``, serialised.

    A field that comes twice is merged (protobuf.dev, "Encoding", Last One Wins): first comes all
    but the data, then only that. Set as a field, the data would be copied three times.
    """
    size_bytes = sum(memoryview(piece).nbytes for piece in data)
    inner = _DATA + _varint(size_bytes)
    rest = pb.Outgoing(pages=pages).SerializeToString()
    return b"".join((rest, _PAGES, _varint(len(inner) + size_bytes), inner, *data))


def receive_over(channel: grpc.aio.Channel) -> Receive:
    """Return how to call over ``channel`` with messages of which some are serialised already."""
    call: Receive = channel.stream_stream(
        _RECEIVE, request_serializer=_serialised, response_deserializer=pb.Incoming.FromString
    )
    return call


def _serialised(message: pb.Outgoing | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()
