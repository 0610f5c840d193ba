# vpcctl web server: one page that says where it runs. Run from its text: its user may not read this file.
"""The page of `deploy webserver`: arguments are the VPC, the subnet, the address and the port."""

import errno
import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer


class Page(BaseHTTPRequestHandler):
    """Answers every path with the same small page."""

    server_version = "vpcctl"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        """JSON for programs that ask for it, else a line of HTML."""
        vpc, subnet, address, port = sys.argv[1:5]
        if isinstance(self.server, Server6):
            address = str(self.connection.getsockname()[0])
        if "application/json" in self.headers.get("Accept", ""):
            facts = {"vpc": vpc, "subnet": subnet, "address": address, "port": int(port)}
            self.answer(json.dumps(facts) + "\n", "application/json")
        else:
            line = f"Hello from subnet {subnet} of VPC {vpc}, address {address}, port {port}."
            page = f"<!doctype html><title>{vpc}/{subnet}</title><p>{line}</p>\n"
            self.answer(page, "text/html; charset=utf-8")

    do_HEAD = do_GET

    def answer(self, text: str, kind: str) -> None:
        """Send the page; HEAD gets the headers alone."""
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        """One line for each request, written at once."""
        moment = self.log_date_time_string()
        line = f"{self.client_address[0]} {format % values}"
        # A client's request may contain escape codes for the reader's terminal.
        sys.stdout.write(f"{moment} {line.encode('unicode_escape').decode()}\n")
        sys.stdout.flush()


class Server(ThreadingHTTPServer):
    """One thread for each client; never looks up its own name."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Without HTTPServer's look-up, which waits for a silent name server."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", int(sys.argv[4])


class Server6(Server):
    """For IPv6 alone: with a listener for each family, the log has addresses as clients have them."""

    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        """Whatever net.ipv6.bindv6only is."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


def servers(port: int) -> Iterator[Server]:
    """One for each family of the kernel: a machine may get IPv6 later."""
    yield Server(("0.0.0.0", port), Page)  # noqa: S104 - all of its own subnet
    try:
        yield Server6(("::", port), Page)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise


if __name__ == "__main__":
    for server in [*servers(int(sys.argv[4]))]:
        threading.Thread(target=server.serve_forever).start()
