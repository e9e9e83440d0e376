"""The codecs that `encode` and `decode` nodes run: ours, a part of a checkpoint, or a third party's, in a folder.

A node has its codec, it is none: `VIDEO` and `AUDIO` answer for every such node what sizes its ports have, whether its
parameters name a codec that can be used, and load it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from ..runtime.errors import CheckpointError, MissingExtra
from ..runtime.node import NodeContext, Param
from ..wan_core.adapters.folder import EXTRA, audio_config, is_installed, video_config
from ..wan_core.config import AudioCodecConfig, Preset, VideoCodecConfig
from ..wan_core.errors import ModelError
from .checkpoint import check_checkpoint, checkpoint_of, known_preset, load_weights
from .on_device import torch_device

if TYPE_CHECKING:
    from torch import Tensor

    from .checkpoint import Part

FAR_UNITS = 8
"""Third-party codecs remember further than one unit; of many missed units, this many are caught up on."""

CODEC_FOLDER: Any = Param("", path="input", help="folder with the third-party codec's weights")
VIDEO_CODEC: Any = Param("own", choices=("own", "wan2.1"), help="own: from the checkpoint; wan2.1: from path")
AUDIO_CODEC: Any = Param("own", choices=("own", "mimi"), help="own: from the checkpoint; mimi: from path")
WIDTH: Any = Param(336, min=8, max=4096, help="pixels, with a third-party codec; own ones know their size")
HEIGHT: Any = Param(192, min=8, max=4096, help="pixels, with a third-party codec")


class Codec(Protocol):
    """Common interface of our codecs and the third-party ones; states are those of `wan_core.streaming`."""

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


Config = TypeVar("Config", VideoCodecConfig, AudioCodecConfig)


class CodecFamily(ABC, Generic[Config]):
    """The codecs for one kind of stream; ``params`` are a node's, of which some may be missing.

    Class attributes:
        part: of ours in a checkpoint.
        third_party: name of the other one.
        package: what that needs.
    """

    part: ClassVar[str]
    third_party: ClassVar[str]
    package: ClassVar[str]

    def config(self, params: Mapping[str, Any]) -> Config | None:
        """Sizes under these parameters; None where they cannot be known: `check` says why."""
        if not self._is_third_party(params):
            preset = known_preset(params)
            return None if preset is None else self.own_config(preset)
        try:
            return self.third_party_config(params)
        except ModelError:
            return None

    def check(self, params: Mapping[str, Any]) -> None:
        """Pass if the codec can be used, by the header of the checkpoint or the configuration in the folder.

        Raises:
            CheckpointError: it cannot.
            MissingExtra: the third-party codec's package is not installed.
        """
        if not self._is_third_party(params):
            check_checkpoint(params, self.part)
            self._check_own(params)
            return
        if params.get("compile", "none") != "none":
            raise CheckpointError(
                f"codec '{self.third_party}': found compile '{params['compile']}' (expected none), "
                "only our own are compiled"
            )
        try:
            self.third_party_config(params)
        except ModelError as error:
            raise CheckpointError(str(error)) from error
        if not is_installed(self.package):
            raise MissingExtra(
                f"codec '{self.third_party}': package '{self.package}' not found (expected the extra '{EXTRA}'), "
                f"pip install 'wangraph[{EXTRA}]'"
            )

    def load(self, params: Mapping[str, Any], ctx: NodeContext) -> tuple[Codec, Config]:
        """The codec with its weights, and its sizes.

        Raises:
            CheckpointError: it cannot be used.
        """
        if not self._is_third_party(params):
            return self.load_own(params, ctx)
        try:
            found = self.load_third_party(params, torch_device(ctx.device))
        except ModelError as error:
            raise CheckpointError(str(error)) from error
        ctx.report("weights", f"{self.part}: {self.third_party}, {Path(params['path']).name}")
        return found

    @abstractmethod
    def own_config(self, preset: Preset) -> Config:
        """Sizes of ours."""

    @abstractmethod
    def third_party_config(self, params: Mapping[str, Any]) -> Config:
        """Sizes of the one in the folder.

        Raises:
            ModelError: no folder is given, or it cannot be used.
        """

    @abstractmethod
    def load_own(self, params: Mapping[str, Any], ctx: NodeContext) -> tuple[Codec, Config]:
        """Ours.

        Raises:
            CheckpointError: it cannot be used.
        """

    @abstractmethod
    def load_third_party(self, params: Mapping[str, Any], device: str) -> tuple[Codec, Config]:
        """The one in the folder.

        Raises:
            ModelError: it cannot be used.
        """

    def folder(self, params: Mapping[str, Any]) -> str:
        """The folder that is given.

        Raises:
            ModelError: none is.
        """
        path = str(params.get("path") or "")
        if not path:
            raise ModelError(f"codec '{self.third_party}': path is missing (expected the folder of its weights)")
        return path

    def built(self, params: Mapping[str, Any], ctx: NodeContext, build: Callable[[Preset], Part]) -> Part:
        """Our codec with its weights, compiled if it shall be.

        Raises:
            CheckpointError: it cannot be used, or there is no compiler.
        """
        codec = load_weights(ctx, checkpoint_of(params), self.part, build)
        if params.get("compile", "none") == "none":
            return codec
        from ..wan_core.compiling import compiled_codec

        try:
            return compiled_codec(codec)
        except ModelError as error:
            raise CheckpointError(str(error)) from error

    def _is_third_party(self, params: Mapping[str, Any]) -> bool:
        return str(params.get("codec", "own")) == self.third_party

    def _check_own(self, params: Mapping[str, Any]) -> None:
        preset = known_preset(params)
        kind = "own" if preset is None else self.own_config(preset).kind
        if kind != "own":
            raise CheckpointError(
                f"checkpoint '{checkpoint_of(params)}': found codec 'own' (expected '{kind}'), "
                f"set codec: {kind} and path: the folder of its weights"
            )


class VideoCodecs(CodecFamily[VideoCodecConfig]):
    """Ours, and the VAE of Wan 2.1."""

    part: ClassVar[str] = "video_codec"
    third_party: ClassVar[str] = "wan2.1"
    package: ClassVar[str] = "diffusers"

    def own_config(self, preset: Preset) -> VideoCodecConfig:
        """Sizes of ours."""
        return preset.video

    def third_party_config(self, params: Mapping[str, Any]) -> VideoCodecConfig:
        """Sizes of the one in the folder, for these pictures."""
        return video_config(self.folder(params), *_height_and_width(params))

    def load_own(self, params: Mapping[str, Any], ctx: NodeContext) -> tuple[Codec, VideoCodecConfig]:
        """Ours."""
        from ..wan_core.media.video import VideoCodec

        own = self.built(params, ctx, lambda preset: VideoCodec(preset.video))
        return own, own.config

    def load_third_party(self, params: Mapping[str, Any], device: str) -> tuple[Codec, VideoCodecConfig]:
        """The VAE of Wan 2.1."""
        from ..wan_core.adapters.wan_vae import load_wan_vae

        codec = load_wan_vae(self.folder(params), *_height_and_width(params), device)
        return codec, codec.config


class AudioCodecs(CodecFamily[AudioCodecConfig]):
    """Ours, and Mimi."""

    part: ClassVar[str] = "audio_codec"
    third_party: ClassVar[str] = "mimi"
    package: ClassVar[str] = "transformers"

    def own_config(self, preset: Preset) -> AudioCodecConfig:
        """Sizes of ours."""
        return preset.audio

    def third_party_config(self, params: Mapping[str, Any]) -> AudioCodecConfig:
        """Sizes of the one in the folder."""
        return audio_config(self.folder(params))

    def load_own(self, params: Mapping[str, Any], ctx: NodeContext) -> tuple[Codec, AudioCodecConfig]:
        """Ours."""
        from ..wan_core.media.audio import AudioCodec

        own = self.built(params, ctx, lambda preset: AudioCodec(preset.audio))
        return own, own.config

    def load_third_party(self, params: Mapping[str, Any], device: str) -> tuple[Codec, AudioCodecConfig]:
        """Mimi."""
        from ..wan_core.adapters.mimi import load_mimi

        codec = load_mimi(self.folder(params), device)
        return codec, codec.config


VIDEO, AUDIO = VideoCodecs(), AudioCodecs()


def remembered_units(config: VideoCodecConfig | AudioCodecConfig) -> int:
    """Units that a codec's state follows from: ours from the last one alone."""
    return 1 if config.kind == "own" else FAR_UNITS


def pictures_shape(config: VideoCodecConfig) -> tuple[int, int, int, int]:
    """The pictures of a unit, [F, H, W, 3]."""
    return config.frames, config.height, config.width, 3


def _height_and_width(params: Mapping[str, Any]) -> tuple[int, int]:
    return int(params.get("height", HEIGHT.default)), int(params.get("width", WIDTH.default))
