"""Which codec a node runs: ours, or a public one with its weights in a folder. Ports follow from ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..runtime.errors import CheckpointError, MissingExtra
from ..runtime.node import NodeContext, Param
from ..wan_core.adapters.folder import EXTRA, audio_config, is_installed, video_config
from ..wan_core.config import AudioCodecConfig, VideoCodecConfig
from ..wan_core.errors import ModelError
from .codecs import CodecNode, compile_param

if TYPE_CHECKING:
    from torch import Tensor

    from .codecs import Part

FAR_UNITS = 8
"""Public codecs remember further than one unit; of many missed units, this many are caught up on."""


class Codec(Protocol):
    """What ours and the public ones have in common; states are those of `wan_core.streaming`."""

    def new_encoder_state(self, batch: int = 1) -> Any:
        """The encoder's beginning."""
        ...

    def new_decoder_state(self, batch: int = 1) -> Any:
        """The decoder's beginning."""
        ...

    def encode(self, x: Tensor, state: Any, /) -> tuple[Tensor, Any]:
        """Units [B, U, ...] -> latents [B, U, ...]."""
        ...

    def decode(self, latents: Tensor, state: Any, /) -> tuple[Tensor, Any]:
        """Latents [B, U, ...] -> units [B, U, ...]."""
        ...

    def encoder_after(self, x: Tensor, state: Any, /) -> Any:
        """The encoder's state after these units."""
        ...

    def decoder_after(self, latents: Tensor, state: Any, /) -> Any:
        """The decoder's state after these latents."""
        ...


class ChosenCodecNode(CodecNode):
    """What nodes of both kinds of codec have in common.

    Class attributes:
        public: name of the public codec.
        package: what it needs.
    """

    public: ClassVar[str] = ""
    package: ClassVar[str] = ""

    codec: str = Param("own", help="own, with the weights of the checkpoint, or a public codec's name")
    path: str = Param("", path="input", help="folder with the public codec's weights")
    compile: str = compile_param()

    @classmethod
    def is_public(cls, params: Mapping[str, Any]) -> bool:
        """Whether the public codec is asked for."""
        return str(params.get("codec", "own")) == cls.public

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """Look at the checkpoint's header, or at the public codec's configuration.

        Raises:
            CheckpointError: it cannot be used.
            MissingExtra: the public codec's package is not installed.
        """
        if not cls.is_public(params):
            super().check(params)
            cls._check_own(params)
            return
        if params.get("compile", "none") != "none":
            raise CheckpointError(
                f"codec '{cls.public}': found compile '{params['compile']}' (expected none), only our own are compiled"
            )
        try:
            cls.public_config(params)
        except ModelError as error:
            raise CheckpointError(str(error)) from error
        if not is_installed(cls.package):
            raise MissingExtra(
                f"codec '{cls.public}': package '{cls.package}' not found (expected the extra '{EXTRA}'), "
                f"pip install 'wangraph[{EXTRA}]'"
            )

    @classmethod
    def public_config(cls, params: Mapping[str, Any]) -> VideoCodecConfig | AudioCodecConfig:
        """Sizes of the public codec.

        Raises:
            ModelError: no folder is given, or it cannot be used.
        """
        raise NotImplementedError

    def compiled(self, codec: Part) -> Part:
        """The codec as ``compile`` asks for it.

        Raises:
            CheckpointError: there is no compiler.
        """
        if self.compile == "none":
            return codec
        from ..wan_core.compiling import compiled_codec

        try:
            return compiled_codec(codec)
        except ModelError as error:
            raise CheckpointError(str(error)) from error

    @classmethod
    def _folder(cls, params: Mapping[str, Any]) -> str:
        path = str(params.get("path") or "")
        if not path:
            raise ModelError(f"codec '{cls.public}': path is missing (expected the folder of its weights)")
        return path

    @classmethod
    def _check_own(cls, params: Mapping[str, Any]) -> None:
        preset = cls.preset(params)
        kind = "own" if preset is None else getattr(preset, cls.part.partition("_")[0]).kind
        if kind != "own":
            raise CheckpointError(
                f"checkpoint '{params.get('checkpoint')}': found codec 'own' (expected '{kind}'), "
                f"set codec: {kind} and path: the folder of its weights"
            )


class VideoCodecNode(ChosenCodecNode):
    """A node that runs a video codec."""

    part: ClassVar[str] = "video_codec"
    public: ClassVar[str] = "wan2.1"
    package: ClassVar[str] = "diffusers"

    codec: str = Param("own", choices=("own", "wan2.1"), help="own: from the checkpoint; wan2.1: from path")
    width: int = Param(336, min=8, max=4096, help="pixels, with a public codec; own ones know their size")
    height: int = Param(192, min=8, max=4096, help="pixels, with a public codec")

    @classmethod
    def config(cls, params: Mapping[str, Any]) -> VideoCodecConfig | None:
        """Sizes under these parameters; None where they cannot be known, `check` says why."""
        if not cls.is_public(params):
            preset = cls.preset(params)
            return None if preset is None else preset.video
        try:
            return cls.public_config(params)
        except ModelError:
            return None

    @classmethod
    def public_config(cls, params: Mapping[str, Any]) -> VideoCodecConfig:
        """Sizes of the codec in the folder."""
        width, height = (int(params.get(name, cls.params[name].default)) for name in ("width", "height"))
        return video_config(cls._folder(params), height, width)

    def load_codec(self, ctx: NodeContext) -> tuple[Codec, VideoCodecConfig]:
        """The codec with its weights, and its sizes.

        Raises:
            CheckpointError: it cannot be used.
        """
        if not self.is_public(self.values):
            from ..wan_core.video import VideoCodec

            own = self.compiled(self.load(ctx, lambda preset: VideoCodec(preset.video)))
            return own, own.config
        from ..wan_core.adapters.wan_vae import load_wan_vae

        try:
            codec = load_wan_vae(self._folder(self.values), self.height, self.width, ctx.device)
        except ModelError as error:
            raise CheckpointError(str(error)) from error
        ctx.report("weights", f"{self.part}: {self.public}, {Path(self.path).name}")
        return codec, codec.config


class AudioCodecNode(ChosenCodecNode):
    """A node that runs an audio codec."""

    part: ClassVar[str] = "audio_codec"
    public: ClassVar[str] = "mimi"
    package: ClassVar[str] = "transformers"

    codec: str = Param("own", choices=("own", "mimi"), help="own: from the checkpoint; mimi: from path")

    @classmethod
    def config(cls, params: Mapping[str, Any]) -> AudioCodecConfig | None:
        """Sizes under these parameters; None where they cannot be known, `check` says why."""
        if not cls.is_public(params):
            preset = cls.preset(params)
            return None if preset is None else preset.audio
        try:
            return cls.public_config(params)
        except ModelError:
            return None

    @classmethod
    def public_config(cls, params: Mapping[str, Any]) -> AudioCodecConfig:
        """Sizes of the codec in the folder."""
        return audio_config(cls._folder(params))

    def load_codec(self, ctx: NodeContext) -> tuple[Codec, AudioCodecConfig]:
        """The codec with its weights, and its sizes.

        Raises:
            CheckpointError: it cannot be used.
        """
        if not self.is_public(self.values):
            from ..wan_core.audio import AudioCodec

            own = self.compiled(self.load(ctx, lambda preset: AudioCodec(preset.audio)))
            return own, own.config
        from ..wan_core.adapters.mimi import load_mimi

        try:
            codec = load_mimi(self._folder(self.values), ctx.device)
        except ModelError as error:
            raise CheckpointError(str(error)) from error
        ctx.report("weights", f"{self.part}: {self.public}, {Path(self.path).name}")
        return codec, codec.config
