"""``wangraph serve``: people talk with a graph from their browsers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ...runtime.errors import MissingExtra, UserError
from ...runtime.observe.loopback import TOKEN_VARIABLE, new_token
from ..shared.options import graph_argument, parse_sets, set_option


@click.command()
@graph_argument
@set_option
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Address to listen on; 0.0.0.0 for every network: cameras then need --tls.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, metavar="N",
              help="Of HTTP and everything else; 0 takes a free one.")  # fmt: skip
@click.option("--sessions", type=click.IntRange(1, 100), default=1, show_default=True, metavar="N",
              help="Visitors at once, each with a graph of their own; the others wait.")  # fmt: skip
@click.option("--record", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Write visits whose visitors agree: MP4 of both sides, MCAP and trace.")  # fmt: skip
@click.option("--tls", metavar="CERT,KEY", help="Serve HTTPS with these PEM files.")
@click.option("--no-webrtc", is_flag=True, help="Media through the page's own socket only.")
@click.option("--ice-server", "ice_servers", multiple=True, metavar="URL",
              help="STUN or TURN server: stun:HOST, turn:USER:PASSWORD@HOST; may be given several times.")  # fmt: skip
@click.option("--udp-ports", metavar="LOW-HIGH", help="UDP ports of WebRTC, for a firewall.  [default: any]")
def command(
    graph: str,
    sets: tuple[str, ...],
    host: str,
    port: int,
    sessions: int,
    record: Path | None,
    tls: str | None,
    no_webrtc: bool,
    ice_servers: tuple[str, ...],
    udp_ports: str | None,
) -> int:
    """Serve GRAPH to browsers: a file, or the name of a shipped one. Its exports say what a visitor sends and gets.

    \b
    wangraph serve duplex                    prints a link; open it, allow camera and microphone, talk
    wangraph serve mirror --sessions 4
    wangraph serve my.yaml --record talks    with each visitor's consent
    ssh -L 8080:localhost:8080 HOST          from another machine: the same link works there

    \b
    The link carries a token, another one at each start; the environment variable WANGRAPH_TOKEN sets it.
    docs/live.md: https, NAT, Docker, the protocol for other clients.
    """
    try:
        from ..serve.app import ServerOptions
        from ..serve.command import serve
    except ImportError as error:
        raise MissingExtra(
            f"serve: found no package '{error.name}' (expected the extra 'live'), "
            "install it: pip install 'wangraph[live]'"
        ) from error
    from ..serve.ends import ServedGraph

    options = ServerOptions(
        host=host,
        port=port,
        sessions=sessions,
        token=os.environ.get(TOKEN_VARIABLE) or new_token(),
        record=record,
        webrtc=None if no_webrtc else _webrtc(ice_servers, udp_ports),
        tls=None if tls is None else _pair(tls),
    )
    return serve(ServedGraph(graph, parse_sets(sets)), options)


def _pair(text: str) -> tuple[Path, Path]:
    parts = text.split(",")
    if len(parts) != 2 or not all(parts):
        raise UserError(f"--tls: found '{text}' (expected CERT,KEY), for example --tls cert.pem,key.pem")
    return Path(parts[0]), Path(parts[1])


def _webrtc(servers: tuple[str, ...], ports: str | None) -> Any:
    from ..serve.webrtc import WebRtcOptions

    return WebRtcOptions([_ice_server(url) for url in servers], None if ports is None else _range(ports))


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    if not (low.isdigit() and high.isdigit() and 0 < int(low) <= int(high) < 65536):
        raise UserError(f"--udp-ports: found '{text}' (expected LOW-HIGH), for example 50000-50099")
    return int(low), int(high)


def _ice_server(url: str) -> dict[str, str]:
    """``turn:USER:PASSWORD@HOST`` as a browser's configuration has it."""
    scheme, _, rest = url.partition(":")
    if scheme not in ("stun", "turn", "turns") or not rest:
        raise UserError(f"--ice-server: found '{url}' (expected stun:HOST or turn:USER:PASSWORD@HOST), write it so")
    credentials, at, host = rest.rpartition("@")
    if scheme == "stun":
        return {"urls": url}
    user, colon, password = credentials.partition(":")
    if not (at and colon and user and password):
        raise UserError(f"--ice-server: found '{scheme}:{host}' without a name and a password "
                        "(expected turn:USER:PASSWORD@HOST), add them")  # fmt: skip
    return {"urls": f"{scheme}:{host}", "username": user, "credential": password}
