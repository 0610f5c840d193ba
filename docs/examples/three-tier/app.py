"""A guest book: it writes notes to the database, reads them from the replica, and counts visits in Redis."""

import http.server
import json
from collections.abc import Callable

import psycopg2
import redis

PRIMARY, REPLICA = "10.30.3.4", "10.30.3.5"
READ = "SELECT note FROM notes ORDER BY id"
ADD = "INSERT INTO notes (note) VALUES (%s) RETURNING note"
CACHE = redis.Redis(host="10.30.3.6", socket_timeout=3, socket_connect_timeout=3)


def query(host: str, statement: str, *values: str) -> list[str]:
    """The first column of what a database answers."""
    connection = psycopg2.connect(host=host, user="app", dbname="app", connect_timeout=3)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return [row[0] for row in cursor.fetchall()] if cursor.description else []
    finally:
        connection.close()


class GuestBook(http.server.BaseHTTPRequestHandler):
    """GET / shows the notes and how often they were read; POST / adds one."""

    def do_GET(self) -> None:
        self.answer(lambda: {"notes": query(REPLICA, READ), "visits": CACHE.incr("visits")})

    def do_POST(self) -> None:
        note = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer(lambda: {"added": query(PRIMARY, ADD, note)})

    def answer(self, work: Callable[[], dict[str, object]]) -> None:
        """Send one line of JSON; 503 and what is wrong if the database or Redis can't be reached."""
        try:
            what, status = work(), 200
        except (psycopg2.Error, redis.RedisError) as error:
            what, status = {"error": str(error).splitlines()[0]}, 503
        body = json.dumps(what).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("", 8000), GuestBook).serve_forever()
