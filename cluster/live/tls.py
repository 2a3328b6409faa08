"""Mutual TLS for whatever listens beyond loopback."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import grpc

from fusion.errors import Refused

#: The name that every certificate of a datacenter bears, whichever machine it is used on.
COMMON_NAME = "fusion"

_VARIABLES = ("FUSION_TLS_CA", "FUSION_TLS_CERT", "FUSION_TLS_KEY")


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files, the same on every machine; the certificate names ``fusion``."""

    ca: str
    certificate: str
    key: str

    def channel_credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(
            root_certificates=Path(self.ca).read_bytes(),
            private_key=Path(self.key).read_bytes(),
            certificate_chain=Path(self.certificate).read_bytes(),
        )

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials that turn away clients without a certificate of our authority."""
        return grpc.ssl_server_credentials(
            [(Path(self.key).read_bytes(), Path(self.certificate).read_bytes())],
            root_certificates=Path(self.ca).read_bytes(),
            require_client_auth=True,
        )


def needed_beyond_this_machine() -> Tls:
    """Return what protects a datacenter that reaches other machines.

    Raises ``Refused`` where Ray's token authentication or our certificates are missing.
    """
    if os.environ.get("RAY_AUTH_MODE") != "token":
        raise Refused(
            "the Ray cluster has nodes on other machines and no token authentication; start it "
            "with RAY_AUTH_MODE=token, and set that here too"
        )
    return from_environment()


def from_environment() -> Tls:
    """Return the TLS files that the environment names. Raises ``Refused`` where it does not."""
    paths = []
    for variable in _VARIABLES:
        path = os.environ.get(variable, "")
        if not path:
            raise Refused(
                f"the Ray cluster has nodes on other machines, which needs mutual TLS, but "
                f"{variable} is not set; set {', '.join(_VARIABLES)} to PEM files that are on "
                f"every node (the certificate names '{COMMON_NAME}')"
            )
        if not Path(path).is_file():
            raise Refused(f"{variable}: there is no file {path}")
        paths.append(path)
    return Tls(*paths)
