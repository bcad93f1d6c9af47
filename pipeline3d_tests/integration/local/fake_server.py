"""A small program for the supervisor's tests: serves /health and writes down what happens to it."""

import argparse
import http.server
import os
import signal
import subprocess
import sys
import threading
import time


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", required=True)
    parser.add_argument("--stubborn", action="store_true", help="ignore the polite stop")
    parser.add_argument("--slow-s", type=float, default=0.0, help="become healthy only after this time")
    parser.add_argument("--grandchild", action="store_true", help="start a process in a session of its own")
    options = parser.parse_args()

    def write(event):
        with open(options.journal, "a") as journal:
            journal.write(f"{event} {options.name} {os.getpid()}\n")

    def on_term(_number, _frame):
        write("stop")
        if not options.stubborn:
            os._exit(0)

    signal.signal(signal.SIGTERM, on_term)
    write("begin")
    if options.grandchild:
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
        )
        with open(options.journal, "a") as journal:
            journal.write(f"grandchild {options.name} {child.pid}\n")
    print(f"hello from {options.name}", flush=True)
    healthy_at = time.monotonic() + options.slow_s

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            healthy = time.monotonic() >= healthy_at
            if healthy and not getattr(Health, "told", False):
                Health.told = True
                write("healthy")
            self.send_response(200 if healthy else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
