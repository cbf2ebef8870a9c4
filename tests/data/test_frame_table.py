"""What packets prove about a video, on made-up packets."""

import numpy as np

from adamae.data.decoding.bitstream import PacketContent, inspector
from adamae.data.decoding.frame_table import DecodeSpan, FrameTable, SeekPoint, TimedPacket

KEY = (True, True)
PLAIN = (True, False)


def packets(*described: tuple[int, tuple[bool, ...]]) -> list[TimedPacket | None]:
    return [TimedPacket(time, *flags) for time, flags in described]


def test_closed_groups() -> None:
    table = FrameTable.of(packets((0, KEY), (20, PLAIN), (10, PLAIN), (30, KEY), (50, PLAIN), (40, PLAIN)))
    assert table is not None
    assert (table.times, table.seek_points) == ([0, 10, 20, 30, 40, 50], [SeekPoint(0, 0, 0), SeekPoint(3, 30, 3)])
    assert [table.seek_point_for(frame).packet for frame in range(6)] == [0, 0, 0, 3, 3, 3]


def test_pictures_shown_before_an_open_group_belong_to_the_one_before() -> None:
    table = FrameTable.of(packets((0, KEY), (10, PLAIN), (40, KEY), (20, PLAIN), (30, PLAIN), (50, PLAIN)))
    assert table is not None
    assert [table.seek_point_for(frame).packet for frame in range(6)] == [0, 0, 0, 0, 2, 2]


def test_hidden_packets_are_no_frames() -> None:
    hidden = (False, False)
    table = FrameTable.of(packets((0, KEY), (5, hidden), (10, PLAIN), (15, (False, True)), (20, PLAIN)))
    assert table is not None
    assert (table.times, table.seek_points) == ([0, 10, 20], [SeekPoint(0, 0, 0), SeekPoint(3, 15, 2)])


def test_doubt_gives_no_table() -> None:
    sound = packets((0, KEY), (10, PLAIN))
    assert FrameTable.of(sound) is not None
    assert FrameTable.of([]) is None
    assert FrameTable.of([*sound, None]) is None  # a packet that says nothing
    assert FrameTable.of(packets((0, KEY), (10, PLAIN), (10, PLAIN))) is None  # two frames at one time
    assert FrameTable.of(packets((0, PLAIN), (10, KEY))) is None  # begins in the middle of a group
    assert FrameTable.of(packets((10, KEY), (0, PLAIN), (20, PLAIN))) is None  # begins with an open group
    assert FrameTable.of(packets((0, (False, True)))) is None  # shows nothing


def test_random_tables_name_the_nearest_entry(rng: np.random.Generator) -> None:
    for _ in range(50):
        random_access = rng.integers(0, 4, 30) == 0
        random_access[0] = True
        table = FrameTable.of([TimedPacket(7 * i, True, bool(key)) for i, key in enumerate(random_access)])
        assert table is not None
        for frame in range(30):
            assert table.seek_point_for(frame).packet == max(i for i in range(frame + 1) if random_access[i])


SPARE = (True, False, False)


def test_runs_leave_out_what_nothing_refers_to() -> None:
    table = FrameTable.of(
        packets((0, KEY), (40, PLAIN), (10, SPARE), (20, SPARE), (30, SPARE), (50, KEY), (70, PLAIN), (60, SPARE)),
        reorders=True,
    )
    assert table is not None
    assert list(table.spans([2])) == [DecodeSpan([0, 1, 3], [0, 2])]
    assert list(table.spans([0, 4])) == [DecodeSpan([0, 1], [0, 4])]
    assert list(table.spans([1, 3, 6])) == [DecodeSpan([0, 1, 2, 4], [0, 1, 3]), DecodeSpan([5, 6, 7], [5, 6])]


def test_times_that_may_be_those_of_decoding_are_put_to_the_test() -> None:
    """Pictures 1 and 2 may really be shown in the other order; without picture 2 nobody would know."""
    described = packets((0, KEY), (10, PLAIN), (20, SPARE), (30, PLAIN), (40, KEY), (50, PLAIN))
    table = FrameTable.of(described, reorders=True)
    assert table is not None
    assert list(table.spans([1])) == [DecodeSpan([0, 1, 2, 3, 4, 5], [0, 1])]
    assert list(table.spans([3, 5])) == [DecodeSpan([0, 1, 2, 3, 4, 5], [0, 1, 2, 3]), DecodeSpan([4, 5], [4, 5])]
    plain = FrameTable.of(described)
    assert plain is not None
    assert list(plain.spans([1, 3])) == [DecodeSpan([0, 1, 3], [0, 1, 3])]


def test_runs_leave_out_what_an_open_group_shows_before_its_entry() -> None:
    table = FrameTable.of(packets((0, KEY), (10, PLAIN), (40, KEY), (20, PLAIN), (30, PLAIN), (50, PLAIN)))
    assert table is not None
    assert list(table.spans([5])) == [DecodeSpan([2, 5], [4, 5])]
    assert list(table.spans([3, 4])) == [DecodeSpan([0, 1, 2, 3, 4], [0, 1, 2, 3]), DecodeSpan([2], [4])]


def test_runs_keep_hidden_packets() -> None:
    table = FrameTable.of(packets((0, KEY), (5, (False, False)), (10, PLAIN)))
    assert table is not None
    assert list(table.spans([1])) == [DecodeSpan([0, 1, 2], [0, 1])]


def look(codec: str, data: bytes, key: bool = True, extradata: bytes = b"") -> PacketContent | None:
    inspect = inspector(codec, extradata)
    assert inspect is not None
    (content,) = inspect([memoryview(data)], [key])
    return content


def test_h264_starts_afresh_at_idr_pictures_only() -> None:
    sized = bytes([1, 0, 0, 0, 0xFF])  # units are preceded by four bytes of size
    unit = bytes([0, 0, 0, 3])
    assert look("h264", unit + b"\x65ab", extradata=sized) == PacketContent(shown=True, random_access=True)
    assert look("h264", unit + b"\x41ab", extradata=sized) == PacketContent(shown=True, random_access=False)
    assert look("h264", unit + b"\x06ab" + unit + b"\x65ab", extradata=sized) == PacketContent(
        shown=True, random_access=True
    )
    assert look("h264", unit + b"\x06ab", extradata=sized) is None  # no picture in it
    assert look("h264", unit + b"\x65a", extradata=sized) is None  # cut short
    assert look("h264", b"\xff\xff\xff\xff\x65ab", extradata=sized) is None
    assert look("h264", b"\0\0\0\1\x67a\0\0\1\x65a") == PacketContent(shown=True, random_access=True)
    assert look("h264", b"\0\0\1\x41a") == PacketContent(shown=True, random_access=False)


def test_many_packets_at_once_are_told_apart(rng: np.random.Generator) -> None:
    """Units of random types and lengths, and packets among them whose sizes do not add up."""
    for width in (1, 2, 4):
        inspect = inspector("h264", bytes([1, 0, 0, 0, 0xFC | (width - 1)]))
        assert inspect is not None
        packets, expected = [], []
        for _ in range(60):
            heads = [int(head) for head in rng.choice([0x01, 0x41, 0x65, 0x06, 0x67, 0x00], rng.integers(1, 5))]
            units = [bytes([head]) + rng.bytes(int(rng.integers(0, 200))) for head in heads]
            packet = b"".join(len(unit).to_bytes(width, "big") + unit for unit in units)
            damage = int(rng.integers(0, 6))
            packet = {0: packet[:-1], 1: packet + b"\0", 2: packet + bytes(width), 3: packet + bytes(99)}.get(
                damage, packet
            )
            pictures = [head for head in heads if head in (0x01, 0x41, 0x65)]
            packets.append(memoryview(packet))
            known = damage > 3 and pictures
            expected.append(PacketContent(True, 0x65 in heads, pictures != [0x01] * len(pictures)) if known else None)
        assert inspect(packets, [False] * len(packets)) == expected


def test_h264_tells_which_pictures_others_refer_to() -> None:
    for head, is_reference in ((0x65, True), (0x61, True), (0x41, True), (0x21, True), (0x01, False)):
        content = look("h264", b"\0\0\1" + bytes([head, 7]), key=False)
        assert content is not None
        assert content.is_reference == is_reference
    # Several slices: one that is referred to is enough; what is no picture does not count.
    assert look("h264", b"\0\0\1\x01a\0\0\1\x21a") == PacketContent(shown=True, random_access=False, is_reference=True)
    assert look("h264", b"\0\0\1\x67a\0\0\1\x01a") == PacketContent(shown=True, random_access=False, is_reference=False)


def test_nothing_refers_to_b_pictures_of_mpeg4() -> None:
    for kind, is_reference in ((0, True), (1, True), (2, False), (3, True)):
        data = b"\0\0\1\xb6" + bytes([kind << 6]) + bytes(32)
        assert look("mpeg4", data, key=False) == PacketContent(
            shown=True, random_access=False, is_reference=is_reference
        )


def test_hevc_starts_afresh_at_random_access_pictures() -> None:
    for kind, random_access in ((1, False), (16, True), (19, True), (21, True)):
        assert look("hevc", b"\0\0\1" + bytes([kind << 1, 1, 0])) == PacketContent(
            shown=True, random_access=random_access
        )
    assert look("hevc", b"\0\0\1" + bytes([32 << 1, 1, 0])) is None


def test_other_codecs() -> None:
    assert look("vp8", b"\x10abc") == PacketContent(shown=True, random_access=True)
    assert look("vp8", b"\x01abc", key=False) == PacketContent(shown=False, random_access=False)
    assert look("vp9", b"\x82ab\x00") == PacketContent(shown=True, random_access=True)
    assert look("vp9", b"\x84ab\x00", key=False) == PacketContent(shown=False, random_access=False)
    assert look("vp9", b"\x84ab\xc0", key=False) == PacketContent(shown=True, random_access=False)
    assert look("vp9", b"\xb2ab\x00") is None
    assert look("mpeg4", bytes(8)) is None
    assert look("av1", b"x", key=False) == PacketContent(shown=True, random_access=False)
    assert inspector("wmv2", None) is None
