"""Messages with pages as they go onto the wire, with their data copied once, and not on arrival."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import grpc

from cluster.rpc.v1 import migration_pb2 as pb

#: Opens a call of ``Migration.Receive``.
Receive = Callable[[], grpc.aio.StreamStreamCall[pb.Outgoing | bytes, pb.Incoming]]

_SERVICE = pb.DESCRIPTOR.services_by_name["Migration"].full_name

#: Keys of fields that have a length.
_PAGES = pb.Outgoing.PAGES_FIELD_NUMBER << 3 | 2
_DATA = pb.Pages.DATA_FIELD_NUMBER << 3 | 2


class Data(NamedTuple):
    """Bytes from ``start`` to ``end`` of something larger, not copied."""

    inside: bytes
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.start

    @property
    def view(self) -> memoryview:
        return memoryview(self.inside)[self.start : self.end]


class Frame(NamedTuple):
    """A message, and the data of its pages beside it."""

    message: pb.Outgoing
    data: Data


def framed(pages: pb.Pages, data: Sequence[bytes | memoryview]) -> bytes:
    """Return an ``Outgoing`` with ``pages`` and the pieces of its ``data``, serialised.

    A field that comes twice is merged (protobuf.dev, "Encoding", "Last One Wins"): first comes all
    but the data, then only that. Set as a field, it would be copied three times.
    """
    size_bytes = sum(memoryview(piece).nbytes for piece in data)
    rest = pb.Outgoing(pages=pages).SerializeToString()
    key = bytes((_DATA,)) + _varint(size_bytes)
    return b"".join((rest, bytes((_PAGES,)), _varint(len(key) + size_bytes), key, *data))


def unframed(serialised: bytes) -> Frame:
    """Return what ``framed`` made, or whatever other ``Outgoing`` there is.

    Raises ``google.protobuf.message.DecodeError``.
    """
    first = _field(serialised, 0, _PAGES)
    second = _field(serialised, first.stop, _PAGES) if first else None
    data = _field(serialised, second.start, _DATA) if second else None
    if first is None or data is None or data.stop != len(serialised):
        message = pb.Outgoing.FromString(serialised)
        inside: bytes = message.pages.data
        return Frame(message, Data(inside, 0, len(inside)))
    rest = pb.Outgoing.FromString(serialised[: first.stop])
    return Frame(rest, Data(serialised, data.start, data.stop))


def receive_over(channel: grpc.aio.Channel) -> Receive:
    """Return how to call over ``channel`` with messages of which some are serialised already."""
    call: Receive = channel.stream_stream(
        f"/{_SERVICE}/Receive",
        request_serializer=_serialised,
        response_deserializer=pb.Incoming.FromString,
    )
    return call


def add_to_server(receive: Callable[..., object], server: grpc.aio.Server) -> None:
    """Have ``receive`` answer ``Migration.Receive`` on ``server``; it reads ``Frame`` objects."""
    handler = grpc.stream_stream_rpc_method_handler(
        receive,
        request_deserializer=unframed,
        response_serializer=pb.Incoming.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(_SERVICE, {"Receive": handler}),)
    )


def _serialised(message: pb.Outgoing | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def _varint(value: int) -> bytes:
    """Return ``value`` in base 128, the lowest digits first."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _field(serialised: bytes, start: int, key: int) -> slice | None:
    """Return where the contents of the field of ``key`` lie, if it begins at ``start``."""
    if start >= len(serialised) or serialised[start] != key:
        return None
    size_bytes = shift = 0
    for place in range(start + 1, min(start + 6, len(serialised))):
        size_bytes |= (serialised[place] & 0x7F) << shift
        shift += 7
        if serialised[place] < 0x80:
            end = place + 1 + size_bytes
            return slice(place + 1, end) if end <= len(serialised) else None
    return None
