"""Figures of a server for Prometheus: visitors, and the graphs of those who are in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...runtime.errors import MissingExtra

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from .lobby import Lobby


def metrics_text(lobby: Lobby) -> str:
    """Answer to ``GET /metrics``.

    Raises:
        MissingExtra: the package ``prometheus-client`` is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError as error:
        raise MissingExtra(
            "/metrics: found no package 'prometheus-client' (expected the extra 'metrics'), "
            "install it: pip install 'wangraph[metrics]'"
        ) from error
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(lobby))
    return generate_latest(registry).decode()


class _Figures:
    """Collects, as the library wants it: an object with `collect`."""

    def __init__(self, lobby: Lobby) -> None:
        self._lobby = lobby

    def collect(self) -> Iterable[Metric]:
        """The figures now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        lobby, counts = self._lobby, self._lobby.counts
        for name, what, value in (
            ("visitors", "Visits that go on.", lobby.admission.taken),
            ("waiting", "Visitors in the queue.", lobby.admission.waiting),
            ("places", "Visits at once.", lobby.admission.places),
        ):
            yield GaugeMetricFamily(f"wangraph_serve_{name}", what, value=value)
        for name, what, value in (
            ("visits", "Visits begun.", counts.visits),
            ("resumed", "Visits that went on after a break.", counts.resumed),
            ("failed", "Visits whose graph failed.", counts.failed),
        ):
            yield CounterMetricFamily(f"wangraph_serve_{name}", what, value=value)
        refused = CounterMetricFamily("wangraph_serve_refused", "Refused, by reason.", labels=["reason"])
        for reason, n in sorted(counts.refused.items()):
            refused.add_metric([reason], n)
        yield refused
        units = {"units": "Units presented.", "misses": "Units that were not there in time."}
        families = {
            key: CounterMetricFamily(f"wangraph_serve_{key}", what, labels=["visit"]) for key, what in units.items()
        }
        dropped = CounterMetricFamily(
            "wangraph_serve_dropped", "Pictures and parts of sound left out.", labels=["visit", "where"]
        )
        for number, visit in enumerate(lobby.visits.values()):  # by number: a visit's name is its visitor's secret
            now = visit.run.collector.snapshot()
            if now:
                families["units"].add_metric([str(number)], now["unit"])
                families["misses"].add_metric([str(number)], now["misses"])
            for where, n in sorted(visit.dropped().items()):
                dropped.add_metric([str(number), where], n)
        yield from families.values()
        yield dropped
