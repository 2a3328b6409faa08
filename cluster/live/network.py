"""Real gRPC over TCP: the network of the live world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cluster.live.cabling import Cabling
from cluster.live.disturbance import LinkedChannel
from cluster.live.fault_watch import FaultWatch
from cluster.live.links import Links
from cluster.live.scaled_time import ScaledTime
from cluster.live.tls import COMMON_NAME, Tls
from cluster.network import Plane, Registration
from fusion.errors import FusionError

#: A restarted peer is found again within half a second; an idle connection is watched.
CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.enable_http_proxy", 0),
)

#: Without so_reuseport=0 two servers would share a taken port without an error. With ping strikes
#: they would cut off whoever watches an idle connection, and with it the next call on it.
SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 64 << 20),
)


@dataclass(frozen=True, slots=True)
class Faults:
    """What may befall the network of one process, and what tells when it does."""

    links: Links
    watch: FaultWatch


class _ScaledCall:
    """A multicallable whose ``timeout`` is in emulated seconds."""

    def __init__(self, call: Any, speed: float) -> None:
        self._call = call
        self._speed = speed

    def __call__(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        wall_s = None if timeout is None else timeout / self._speed
        return self._call(*args, timeout=wall_s, **kwargs)


class _ScaledChannel(grpc.aio.Channel):
    """A channel whose calls take their time limits in emulated seconds."""

    def __init__(self, channel: grpc.aio.Channel, speed: float) -> None:
        self._channel = channel
        self._speed = speed

    async def __aenter__(self) -> _ScaledChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _ScaledCall(self._channel.unary_unary(*args, **kwargs), self._speed)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _ScaledCall(self._channel.unary_stream(*args, **kwargs), self._speed)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _ScaledCall(self._channel.stream_unary(*args, **kwargs), self._speed)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _ScaledCall(self._channel.stream_stream(*args, **kwargs), self._speed)


class _Services:
    """Passes registrations on to a server and remembers the names of the services."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server
        self.names: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self.names += [handler.service_name() for handler in handlers]
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        self._server.add_registered_method_handlers(service, handlers)


class LiveServer:
    """A real gRPC server; it answers health checks and reflection beside its own services."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    async def stop(self) -> None:
        await self._server.stop(None)


class LiveNetwork:
    """Channels and servers over TCP.

    ``address_of`` gives the ``host:port`` of a name, asked anew for every channel, so that a peer
    that moved is found again. What is beyond 127.0.0.1 is reached and served under ``tls`` only;
    ``public_address`` is where this party is to be reached besides: from other machines, or from
    the other side of ``cabling``. What goes out and is answered suffers ``faults``, if any may
    come; who serves watches for them.
    """

    def __init__(
        self,
        address_of: Callable[[str], str],
        speed: float = 1.0,
        tls: Tls | None = None,
        public_address: str = "",
        faults: Faults | None = None,
        *,
        cabling: Cabling | None = None,
    ) -> None:
        self._cabling = cabling
        self._address_of = address_of
        self._speed = speed
        self._tls = tls
        self._public_address = public_address
        self._faults = faults
        self._channels: dict[tuple[str, Plane], grpc.aio.Channel] = {}

    def channel(self, peer: str, plane: Plane = Plane.MANAGEMENT) -> grpc.aio.Channel:
        address = self._address_of(peer)
        channel = self._channels.get((address, plane))
        if channel is None:
            channel = self._made(address, peer, plane)
            self._channels[address, plane] = channel
        return channel

    def _made(self, address: str, peer: str, plane: Plane) -> grpc.aio.Channel:
        def connect(*interceptors: grpc.aio.ClientInterceptor) -> grpc.aio.Channel:
            return _ScaledChannel(self._connect(address, interceptors), self._speed)

        if self._faults is None:
            return connect()
        return LinkedChannel(connect(), connect, self._faults.links.link(peer, plane))

    def _connect(
        self, address: str, interceptors: Sequence[grpc.aio.ClientInterceptor]
    ) -> grpc.aio.Channel:
        # Planes share no connection, so that each can be cut by itself.
        options: tuple[tuple[str, Any], ...] = (
            *CHANNEL_OPTIONS,
            ("grpc.use_local_subchannel_pool", 1),
        )
        if self._tls is None or _on_loopback(address):
            return grpc.aio.insecure_channel(address, options, interceptors=interceptors)
        options = (*options, ("grpc.ssl_target_name_override", COMMON_NAME))
        credentials = self._tls.channel_credentials()
        return grpc.aio.secure_channel(address, credentials, options, interceptors=interceptors)

    async def serve(
        self, name: str, register: Registration, plane: Plane = Plane.MANAGEMENT
    ) -> LiveServer:
        if self._faults is not None:
            self._faults.watch.start()
        # At another speed the handlers' view of time limits is scaled too.
        interceptors = () if self._speed == 1.0 else (ScaledTime(self._speed),)
        server = grpc.aio.server(options=SERVER_OPTIONS, interceptors=interceptors)
        services = _Services(server)
        register(services)  # type: ignore[arg-type]
        checks = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        for service in ("", *services.names):
            await checks.set(service, health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection(
            (*services.names, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        for address in filter(None, (self._address_of(name), self._public_address)):
            self._listen(server, name, address)
        await server.start()
        return LiveServer(server)

    def _listen(self, server: grpc.aio.Server, name: str, address: str) -> None:
        try:
            if self._cabling is not None:  # which leads nowhere beyond this machine
                with self._cabling.at(address):
                    server.add_insecure_port(address)
            elif _on_loopback(address):
                server.add_insecure_port(address)
            elif self._tls is not None:
                server.add_secure_port(address, self._tls.server_credentials())
            else:
                raise FusionError(f"{name} may not listen on {address} without mutual TLS")
        except RuntimeError as error:
            raise FusionError(
                f"{name} cannot listen on {address}: the port is taken; stop what uses it, "
                "or choose others with 'first_port' in the datacenter file"
            ) from error

    async def close(self) -> None:
        """Close every channel."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()


def _on_loopback(address: str) -> bool:
    return address.startswith(("127.0.0.1:", "localhost:"))
