"""Users of the mixed benchmark: people who open screen after screen and read them for a while.

Reads an order from standard input, one JSON object: ``url``, ``tokens`` (one a person), ``pause_s``,
``seconds``. Asks for a screen's figures side by side over the API, as its page does, and waits until
all are there. Prints one JSON object with milliseconds of every screen.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

#: What each screen asks: calls of the API, over simulated data.
SCREENS: dict[str, tuple[str, ...]] = {
    "overview": (
        "totals", "series?by=dst_port&limit=6", "top?by=dst_port&limit=10", "top?by=asn&limit=10",
        "top?by=country&limit=10", "top?by=actor&limit=6", "top?by=hint&limit=6", "top?by=nature&limit=6",
    ),
    "explore": (
        "series?by=dst_port", "facets?by=country,region,hint,survey,tcp_fp,nature,dst_port,asn", "rows?limit=50",
    ),
    "port": (
        f"totals?q={quote('dst_port = 23')}", f"series?q={quote('dst_port = 23')}",
        f"top?by=country&sparks=false&q={quote('dst_port = 23')}", f"top?by=asn&sparks=false&q={quote('dst_port = 23')}",
    ),
    "sensors": ("sensors",),
}  # fmt: skip
_TIMEOUT_SECONDS = 60.0


class Person:
    """One signed-in analyst."""

    def __init__(self, url: str, token: str) -> None:
        self._place = urlsplit(url)
        self._fields = {"Authorization": f"Bearer {token}"}
        self.screens_ms: dict[str, list[float]] = {name: [] for name in SCREENS}
        self.errors = 0

    def use(self, end: float, pause_s: float) -> None:
        while time.monotonic() < end:
            time.sleep(random.expovariate(1 / pause_s))
            name = random.choice(list(SCREENS))
            started = time.perf_counter()
            with ThreadPoolExecutor(len(SCREENS[name])) as calls:
                answered = list(calls.map(self._ask, SCREENS[name]))
            if all(answered):
                self.screens_ms[name].append((time.perf_counter() - started) * 1000)
            else:
                self.errors += 1

    def _ask(self, call: str) -> bool:
        path = f"/api/v1/{call}{'&' if '?' in call else '?'}dataset=simulated&period=24h"
        connection = http.client.HTTPConnection(
            self._place.hostname or "", self._place.port, timeout=_TIMEOUT_SECONDS
        )
        try:
            connection.request("GET", path, headers=self._fields)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            print(f"{call}: {error!r}", file=sys.stderr)
            return False
        finally:
            connection.close()
        if answer.status != 200:
            print(f"{call}: {answer.status} {body[:300]!r}", file=sys.stderr)
        return answer.status == 200


def main() -> int:
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    people = [Person(order["url"], token) for token in order["tokens"]]
    end = time.monotonic() + order["seconds"]
    threads = [threading.Thread(target=one.use, args=(end, order["pause_s"])) for one in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = {name: [ms for one in people for ms in one.screens_ms[name]] for name in SCREENS}
    print(json.dumps({"screens_ms": told, "errors": sum(one.errors for one in people)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
