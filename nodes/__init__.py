"""Node classes that graphs are made of: one file a family, in data-flow order. Imports the author's API and wan_core.

Modules here import no torch at module level: a model is imported in ``open``.
"""

from __future__ import annotations

CATALOGUE: dict[str, str] = {
    "capture.app": "wangraph.nodes.app:CaptureApp",
    "capture.camera": "wangraph.nodes.devices.camera:CaptureCamera",
    "capture.clock": "wangraph.nodes.capture:CaptureClock",
    "capture.file": "wangraph.nodes.capture:CaptureFile",
    "capture.microphone": "wangraph.nodes.devices.microphone:CaptureMicrophone",
    "capture.pattern": "wangraph.nodes.pattern:CapturePattern",
    "capture.text": "wangraph.nodes.capture:CaptureText",
    "encode.video": "wangraph.nodes.encode:EncodeVideo",
    "encode.audio": "wangraph.nodes.encode:EncodeAudio",
    "encode.mel": "wangraph.nodes.encode:EncodeMel",
    "backbone.thinker": "wangraph.nodes.thinker:ThinkerNode",
    "backbone.performer": "wangraph.nodes.performer:PerformerNode",
    "backbone.reference": "wangraph.nodes.reference:ReferenceNode",
    "decode.video": "wangraph.nodes.decode:DecodeVideo",
    "decode.audio": "wangraph.nodes.decode:DecodeAudio",
    "sync.playout": "wangraph.nodes.sync:Playout",
    "flow.cancel_echo": "wangraph.nodes.echo:CancelEcho",
    "flow.delay": "wangraph.nodes.flow:Delay",
    "flow.tee": "wangraph.nodes.flow:Tee",
    "flow.gate": "wangraph.nodes.flow:Gate",
    "flow.mix": "wangraph.nodes.flow:Mix",
    "flow.pip": "wangraph.nodes.flow:PictureInPicture",
    "flow.python": "wangraph.nodes.flow:PythonFunction",
    "sink.mp4": "wangraph.nodes.sinks:Mp4",
    "sink.null": "wangraph.nodes.sinks:Null",
    "sink.print": "wangraph.nodes.sinks:Print",
    "sink.speakers": "wangraph.nodes.devices.speakers:Speakers",
    "sink.window": "wangraph.nodes.devices.window:Window",
    "published.detect": "wangraph.nodes.simulated:Detect",
    "published.transcribe": "wangraph.nodes.simulated:Transcribe",
    "published.reply": "wangraph.nodes.simulated:Reply",
    "published.speak": "wangraph.nodes.simulated:Speak",
    "published.animate": "wangraph.nodes.simulated:Animate",
}
"""Type name in graph files -> ``module:Class``. Other packages add theirs by the entry-point group `wangraph.nodes`."""
