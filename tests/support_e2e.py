# SPDX-License-Identifier: Apache-2.0
"""What end-to-end tests in Python start: the exporter, the worker e2e_groups, Prometheus.

Each is a context manager that ends its process by its pid. BUILD: what is tested.
"""
import json
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request

BUILD = os.environ.get("BUILD", "build/release")
LIMIT_S = 60


class Failed(Exception):
    """A test failed: what it says is for its reader."""


def wait_for(what, function, *arguments):
    """What the function returns, as soon as that is true."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        if result := function(*arguments):
            return result
        time.sleep(0.05)
    raise Failed(f"not in {LIMIT_S} s: {what}")


def fetch(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        return answer.read().decode()


class Server:
    """A program that says on stderr where it listens; its log is FOLDER/NAME.log, its output out."""

    def __init__(self, name, folder, command, pattern):
        self.name, self.log = name, os.path.join(folder, name + ".log")
        self.out = self.log + ".out"
        os.makedirs(folder, exist_ok=True)
        with open(self.log, "wb") as log, open(self.out, "wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=log)
        self.pattern = re.compile(pattern)

    def __enter__(self):
        try:
            self.address = "127.0.0.1:" + wait_for(f"{self.name} listens", self.port)
        except Failed:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def port(self):
        with open(self.log, encoding="utf-8") as log:
            found = self.pattern.search(log.read())
        return found and found[1]

    def __exit__(self, kind, *_):
        if kind:
            with open(self.log, encoding="utf-8") as log:
                print(f"{self.name} said at last:", *log.read().splitlines()[-10:], sep="\n")
        self.process.terminate()
        status = self.process.wait(LIMIT_S)
        if kind is None and status != 0:
            raise Failed(f"{self.name} ended with status {status}")


class Exporter(Server):
    def __init__(self, folder, *flags):
        super().__init__("exporter", folder,
                         [BUILD + "/kvtap-exporter", "--web.listen-address=127.0.0.1:0",
                          "--web.cut-timeout=60s", "--dir=" + folder, *flags],
                         r"msg=Listening address=\S*:([0-9]+) ")

    def scrape(self, accept="text/plain"):
        return fetch(f"http://{self.address}/metrics", Accept=accept)


class Prometheus(Server):
    """Scrapes one target each second."""

    def __init__(self, folder, target):
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as file:
            file.write("global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: kvtap\n"
                       f"    static_configs:\n      - targets: ['{target}']\n")
        super().__init__("prometheus", folder,
                         ["prometheus", "--config.file=" + config,
                          "--storage.tsdb.path=" + os.path.join(folder, "data"),
                          "--web.listen-address=127.0.0.1:0"],
                         r'msg="Listening on" address=\S*:([0-9]+)')

    def query(self, query, at=None):
        """The vector that a query gives: {labels: value}."""
        words = {"query": query} if at is None else {"query": query, "time": f"{at:.3f}"}
        answer = json.loads(fetch(f"http://{self.address}/api/v1/query?"
                                  + urllib.parse.urlencode(words)))["data"]
        return {frozenset(sample["metric"].items()): float(sample["value"][1])
                for sample in answer["result"]}

    def scraped_after(self, moment):
        """When it scraped, if that was after the moment."""
        at = list(self.query('timestamp(up{job="kvtap"})').values())
        return at and at[0] > moment and at[0]


class Worker:
    """Does what it is told; see e2e_groups.c."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.process = subprocess.Popen([BUILD + "/tests/e2e_groups"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "KVTAP_DIR": folder})

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.stdin.close()
        status = self.process.wait(LIMIT_S)
        if kind is None and status != 0:
            raise Failed(f"the worker ended with status {status}")

    def answer(self, word, tap, name=None, **values):
        """What the library returned."""
        words = [word, str(tap)] + ([name] if name else [])
        words += [f"{key}={urllib.parse.quote(str(value), safe=',:')}"
                  for key, value in values.items() if value is not None]
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def do(self, word, tap, name=None, **values):
        if answer := self.answer(word, tap, name, **values):
            raise Failed(f"{word} {name} {values}: {os.strerror(-answer)}")
