"""FFmpeg's reading of one file. An error of the file system is not taken for damage of the file.

To FFmpeg's demuxers both are an end of the file, and some report neither. So Python reads the file: a small one as a
whole, before FFmpeg, and of a large one what FFmpeg asks for, after which PyAV raises what reading raised. (If reading
fails several times before that, PyAV also prints the errors that it drops.)
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
        data: Its bytes.
        name: By its suffix FFmpeg decides where the bytes leave a doubt.
    """

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


class Demuxer:
    """The video of a file, to be decoded by one thread.

    Args:
        source: A video file, or the bytes of one.

    Attributes:
        stream: The video.

    Raises:
        DecodeError: It is missing, empty, cut off, not a video, or cannot be read.
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
            # FFmpeg calls its methods, which may not be written in Python: what a signal raises there would be lost.
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
        """All packets that hold data from where it stands. A damaged file may break off, and ends there.

        Returns:
            Whether it breaks off.

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
                # and that PyAV never listed. Transport streams may add one late, and damaged ones seem to.
                return False
            if packet is None:
                return False
            if packet.size:
                yield packet

    def packets_from(self, time: int) -> Generator[av.Packet, None, bool]:
        """As :meth:`packets`, from where FFmpeg finds a time, in units of the stream; none where it cannot seek.

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
        # Only what Python raised is an error of reading: FFmpeg gives damage the numbers of such errors too.
        if isinstance(error, OSError) and not isinstance(error, av.FFmpegError):
            raise DecodeError(self._path, f"cannot be read ({error.strerror or error})") from None

    def close(self) -> None:
        """Give the file back."""
        self._container.close()
        self._file.close()
