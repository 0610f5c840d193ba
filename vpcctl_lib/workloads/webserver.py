# vpcctl web server: one page that says where it runs. Run by its text, as its user may not read this file.
"""The page of `deploy webserver`: arguments are the VPC, the subnet, the address and the port."""

import json
import sys
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
        """One line a request, at once."""
        moment = self.log_date_time_string()
        line = f"{self.client_address[0]} {format % values}"
        # What a client sent may hold escape codes for the terminal on which this is read.
        sys.stdout.write(f"{moment} {line.encode('unicode_escape').decode()}\n")
        sys.stdout.flush()


class Server(ThreadingHTTPServer):
    """A thread a client; it asks no name server who it is itself."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Without the look-up of HTTPServer, which takes as long as a silent name server is waited for."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", int(sys.argv[4])


if __name__ == "__main__":
    Server(("0.0.0.0", int(sys.argv[4])), Page).serve_forever()  # noqa: S104 - all of its own subnet
