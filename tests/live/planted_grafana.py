"""What stands for Grafana where a test needs one: it serves what it was started with."""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        settings = {name: value for name, value in os.environ.items() if name.startswith("GF_")}
        body = json.dumps({"arguments": sys.argv[1:], "settings": settings}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    place = os.environ["GF_SERVER_HTTP_ADDR"], int(os.environ["GF_SERVER_HTTP_PORT"])
    HTTPServer(place, Handler).serve_forever()
