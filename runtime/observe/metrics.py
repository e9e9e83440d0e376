"""Figures of a run for Prometheus, on a loopback port, made when they are asked for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import MissingExtra, UserError
from .loopback import TOKEN_VARIABLE, LoopbackHandler, LoopbackServer
from .statistics import Statistics
from .status import Watched, snapshot

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

PATIENCE_S = 1.0
"""How long a scrape waits for fresh figures; an older snapshot is given when the run is too busy."""


class MetricsServer:
    """Serves ``http://127.0.0.1:PORT/metrics`` to whoever brings the token: another one at each start, unless the
    environment variable `TOKEN_VARIABLE` sets it. The figures are made by `serve`, in the run's own thread.

    Args:
        port: 0 takes a free one, see `port`.

    Raises:
        MissingExtra: the package ``prometheus-client`` is not installed.
        UserError: the port is taken.
    """

    def __init__(self, port: int) -> None:
        try:
            from prometheus_client import CollectorRegistry
        except ImportError as error:
            raise MissingExtra(
                "--metrics: found no package 'prometheus-client' (expected the extra 'metrics'), "
                "install it: pip install 'wangraph[metrics]'"
            ) from error
        self._latest: dict[str, Any] | None = None
        self._scraped = threading.Event()
        self._fresh = threading.Event()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        try:
            self._server = _Server(("127.0.0.1", port), _Handler, os.environ.get(TOKEN_VARIABLE, ""))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such port"
            raise UserError(f"--metrics: port {port}: {reason} (expected a free port), name another one") from error
        self._server.registry = registry
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Address to ask; a token of the user's own, which may be of use for longer, is not in it."""
        token = "" if os.environ.get(TOKEN_VARIABLE) else f"?token={self._server.token}"
        return f"http://127.0.0.1:{self.port}/metrics{token}"

    def serve(self, statistics: Statistics, engine: Watched) -> None:
        """Make figures if somebody has asked."""
        if self._scraped.is_set():
            self._scraped.clear()
            self._latest = snapshot(statistics, engine)
            self._fresh.set()

    def collect(self) -> Iterable[Metric]:
        """Give a scrape its figures; called by the library, in a thread of its server."""
        self._fresh.clear()
        self._scraped.set()
        self._fresh.wait(PATIENCE_S)
        return [] if self._latest is None else list(families(self._latest))

    def close(self) -> None:
        """Free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(LoopbackServer):
    registry: CollectorRegistry


class _Handler(LoopbackHandler):
    server: _Server

    def answer(self) -> None:
        """Give the figures."""
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        if urlsplit(self.path).path != "/metrics":
            self.send_error(404, "expected /metrics")
            return
        figures = generate_latest(self.server.registry)
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(figures)))
        self.end_headers()
        self.wfile.write(figures)


def families(now: dict[str, Any]) -> Iterable[Metric]:
    """A snapshot as Prometheus knows figures: seconds and bytes, quantiles as labels."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    graph = now["graph"]
    for key, what in (("unit", "Units presented."), ("real", "Units that were there when presented."),
                      ("misses", "Units that were not."), ("concealed", "Units made up by a node."),
                      ("underruns", "Times that units were missed, in a row or alone."),
                      ("late", "Calls that finished after their due, presentations that began after it.")):  # fmt: skip
        name = "units" if key == "unit" else key
        yield _filled(CounterMetricFamily(f"wangraph_{name}", what, labels=["graph"]), [((graph,), now[key])])
    yield _filled(GaugeMetricFamily("wangraph_fps", "Pictures per second.", labels=["graph"]), [((graph,), now["fps"])])
    for key, what in (("deadline_attainment", "Share of units that were there, and in time."),
                      ("time_to_first_unit_ms", "From the origin to the first unit that was there.")):  # fmt: skip
        scale, name = (1e3, f"{key[:-3]}_seconds") if key.endswith("_ms") else (1.0, key)
        gauge = GaugeMetricFamily(f"wangraph_{name}", what, labels=["graph"])
        yield _filled(gauge, [] if now[key] is None else [((graph,), now[key] / scale)])
    skew = GaugeMetricFamily(
        "wangraph_av_skew_seconds", "How much older the picture is than the sound.", labels=["graph"]
    )
    yield _filled(skew, [((graph,), now["av_skew_ms"] / 1000)])
    for key, what in (("latency_ms", "Release to presentation, of units that were there."),
                      ("model_latency_ms", "Release to answer, of units that were there.")):  # fmt: skip
        family = GaugeMetricFamily(f"wangraph_{key[:-3]}_seconds", what, labels=["graph", "quantile"])
        yield _filled(family, [((graph, q), ms / 1000) for q, ms in _quantiles(now[key])])
    labels = ["graph", "node", "process", "lane"]
    nodes = [((graph, name, node["process"], node["lane"]), node) for name, node in now["nodes"].items()]
    for key, what in (("fired", "Units taken."), ("late", "Calls after their due."), ("lost", "Units lost or not run."),
                      ("busy_s", "Time in the body.")):  # fmt: skip
        total = CounterMetricFamily(f"wangraph_node_{key.replace('_s', '_seconds')}", what, labels=labels)
        yield _filled(total, [(at, node[key]) for at, node in nodes])
    for key, what in (("busy_ms", "Time in the body."), ("wait_ms", "Ready, but not started."),
                      ("send_ms", "Way to another process.")):  # fmt: skip
        family = GaugeMetricFamily(f"wangraph_node_recent_{key[:-3]}_seconds", what, labels=[*labels, "quantile"])
        yield _filled(family, [((*at, q), ms / 1000) for at, node in nodes for q, ms in _quantiles(node[key])])
    processes = [((graph, name), used) for name, used in now["processes"].items()]
    cpu = CounterMetricFamily("wangraph_process_cpu_seconds", "CPU time.", labels=["graph", "process"])
    yield _filled(cpu, [(at, used["cpu_s"]) for at, used in processes])
    memory = GaugeMetricFamily("wangraph_process_resident_bytes", "Resident memory.", labels=["graph", "process"])
    yield _filled(memory, [(at, used["rss_mb"] * 1e6) for at, used in processes])


def _quantiles(figures: dict[str, float]) -> list[tuple[str, float]]:
    names = {"p50": "0.5", "p95": "0.95", "p99": "0.99", "max": "1"}
    return [(names[name], value) for name, value in figures.items()]


def _filled(family: Any, samples: Iterable[tuple[tuple[str, ...], float]]) -> Any:
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
