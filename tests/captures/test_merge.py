"""The law of the pieces: a capture cut anywhere and merged is the capture."""

import pytest
from tests.made_captures import pcap, random_capture
from tests.packet_engines import everything

from tcpscope.capture import open_capture
from tcpscope.packets.analysis import summarize
from tcpscope.packets.merge import merge, read_part, read_parts_in_order


def _packets(path):
    with open_capture(path) as source:
        return [(p.t_ns, p.data, p.original_len, p.link_type) for p in source.iter_packets()]


def _write(path, packets):
    """Write packets as nanosecond pcap, original lengths kept."""
    import struct

    link_type = packets[0][3] if packets else 1
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, link_type))
        for t_ns, data, original, _ in packets:
            out.write(struct.pack("<IIII", t_ns // 10**9, t_ns % 10**9, len(data), original) + data)
    return str(path)


def _check_every_cut(packets, folder, engine="python"):
    whole = everything(read_part(_write(folder / "whole.pcap", packets)).ledger)
    for cut in range(len(packets) + 1):
        first = read_part(_write(folder / "a.pcap", packets[:cut]), engine)
        second = read_part(_write(folder / "b.pcap", packets[cut:]), engine)
        assert everything(merge([first, second]).ledger) == whole, cut
    return len(packets) + 1


def shown(part):
    """What people see: connections, findings and totals, in their order."""
    analysis = summarize(part.ledger, (), "")
    return list(analysis.connections), analysis.findings, analysis.totals, list(analysis.totals.state_pairs)


@pytest.mark.slow
def test_every_cut_of_every_capture(shared_folder, tmp_path):
    cuts = 0
    for path in sorted((shared_folder / "captures").rglob("*.pcap*")):
        packets = [packet for packet in _packets(path) if packet[3] == _packets(path)[0][3]]
        cuts += _check_every_cut(packets, tmp_path)
    assert cuts > 700


def test_every_cut_of_random_captures(tmp_path):
    for seed in range(3000, 3008):
        (tmp_path / "made.pcap").write_bytes(pcap(random_capture(seed)))
        assert _check_every_cut(_packets(tmp_path / "made.pcap"), tmp_path)


def test_merge_is_associative_and_equals_reading_in_order(tmp_path):
    for seed in range(3100, 3110):
        (tmp_path / "made.pcap").write_bytes(pcap(random_capture(seed, flows=6)))
        packets = _packets(tmp_path / "made.pcap")
        third = len(packets) // 3
        pieces = [packets[:third], packets[third : 2 * third], packets[2 * third :]]
        paths = [_write(tmp_path / f"{n}.pcap", piece) for n, piece in enumerate(pieces)]
        a, b, c = (read_part(path) for path in paths)
        left, right, flat = merge([merge([a, b]), c]), merge([a, merge([b, c])]), merge([a, b, c])
        in_order = read_parts_in_order(paths)
        assert everything(left.ledger) == everything(right.ledger) == everything(flat.ledger)
        assert everything(flat.ledger) == everything(in_order.ledger)
        assert left.sources == right.sources == flat.sources == in_order.sources
        assert shown(left) == shown(right) == shown(flat) == shown(in_order)


@pytest.mark.slow
def test_merge_of_compiled_parts(tmp_path):
    pytest.importorskip("numba")
    (tmp_path / "made.pcap").write_bytes(pcap(random_capture(3200)))
    assert _check_every_cut(_packets(tmp_path / "made.pcap"), tmp_path, "compiled")
