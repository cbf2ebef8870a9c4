"""Demux a file with FFmpeg, and distinguish file system errors from damaged files.

FFmpeg's demuxers treat both as the end of the file, and some report neither. Therefore Python reads the file: small
files completely before FFmpeg, and large files on FFmpeg's requests, after which PyAV raises the exception of the read.
(If several reads fail before that, PyAV also prints the errors that it drops.)
"""

from __future__ import annotations

import io
from collections.abc import Generator

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from adamae.data.decoding.damage import load_file
from adamae.data.decoding.protocol import DecodeError, VideoSource, name_of


class _NamedBytes(io.BytesIO):
    """A file in memory.

    Args:
        data: Bytes of the file.
        name: Name of the file; FFmpeg uses its suffix if the content is ambiguous.
    """

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


class Demuxer:
    """The video stream of a file, set up for decoding in one thread.

    Args:
        source: A video file, or the bytes of one.

    Attributes:
        stream: The video stream.

    Raises:
        DecodeError: The file is missing, empty, truncated, not a video, or cannot be read.
    """

    def __init__(self, source: VideoSource) -> None:
        self._path = name_of(source)
        self._file = self._read(source)
        try:
            self._container = self._open()
        except BaseException:
            self._file.close()
            raise
        stream = self._container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.codec_context is None:
            self.close()
            raise DecodeError(self._path, "holds no video that can be decoded")
        self.stream = stream
        self.stream.codec_context.thread_count = 1

    def _read(self, source: VideoSource) -> io.FileIO | _NamedBytes:
        source = load_file(source)
        if not isinstance(source, str):
            return _NamedBytes(source.data, source.name)
        try:
            # FFmpeg calls the file's methods. In Python methods an exception raised by a signal handler would be lost.
            return io.FileIO(source)
        except OSError as error:
            raise DecodeError(self._path, f"cannot be opened ({error.strerror})") from None

    def _open(self) -> InputContainer:
        try:
            return av.open(self._file, metadata_errors="ignore")
        except (av.FFmpegError, OSError, ValueError) as error:
            self._expect_damage(error)
            reason = getattr(error, "strerror", error)
            raise DecodeError(self._path, f"not a readable video ({reason})") from None

    def packets(self) -> Generator[av.Packet, None, bool]:
        """Iterate over all non-empty packets from the current position; ends early if the file is damaged.

        Returns:
            Whether demuxing ended early.

        Raises:
            DecodeError: The file cannot be read.
        """
        packets = self._container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                self._expect_damage(error)
                return True
            except IndexError:
                # After the last packet, PyAV (18.1, its issue 692) may look up a stream that FFmpeg found while reading
                # and that PyAV does not list. Transport streams may add a stream late, and damaged ones appear to.
                return False
            if packet is None:
                return False
            if packet.size:
                yield packet

    def packets_from(self, time: int) -> Generator[av.Packet, None, bool]:
        """As :meth:`packets`, after seeking to a time in units of the stream's time base; empty if seeking fails.

        Raises:
            DecodeError: The file cannot be read.
        """
        try:
            self._container.seek(time, stream=self.stream)
        except (av.FFmpegError, OSError) as error:
            self._expect_damage(error)
            return True
        return (yield from self.packets())

    def _expect_damage(self, error: Exception) -> None:
        # Only exceptions raised by Python are read errors: FFmpeg also uses error numbers of the system for damage.
        if isinstance(error, OSError) and not isinstance(error, av.FFmpegError):
            raise DecodeError(self._path, f"cannot be read ({error.strerror or error})") from None

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self._file.close()
