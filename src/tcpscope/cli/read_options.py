"""What ``tcpscope read`` understands on its command line, for dumps and captures alike."""

from __future__ import annotations

from tcpscope.cli.parsing import add_color_option, add_names_option, new_parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

EPILOG = """examples:
  tcpscope read customer.txt                  netstat, ss or lsof output from any system, several in one file too
  ssh web01 netstat -anp | tcpscope read -    from a pipe
  tcpscope read monday.txt tuesday.txt        two looks: ages and growth
  tcpscope read dump.txt --filter 'state close-wait dport = :443'

  tcpscope read trace.pcapng                     pairs of final states, verdicts, one line per connection
  tcpscope read trace.pcapng --lines             as tcpdump prints it, with states, handshake and close counted
  tcpscope read trace.pcapng --ladder 7          every segment of connection 7 with both ends' states
  tcpscope read trace.pcapng --ladder 7 --svg    the same as a picture, on standard output
  tcpscope read trace.pcap --state-at +1.5       what ss would have shown at both ends 1.5 s after the first packet
  tcpscope read day/ --sort -retrans --limit 20  all captures of a folder
  tcpdump -w - | tcpscope read -                 from a pipe
  tcpscope read big.pcap.gz --export zeek > conn.log
  tcpscope read big.pcap --export parquet --to big
  tcpscope read --prepare                        compile the engine for large captures now (some 15 s, once)

Text: netstat (Linux, BSD, macOS, Windows, Solaris, AIX), ss, lsof -i and -F, /proc/net/tcp, sockstat, PowerShell's
Get-NetTCPConnection; quoted, numbered, from a log, with prompts and prose in between. What looks like a row and is not
understood is counted and shown. What tcpdump printed is read as the capture it was made from.
Captures: pcap and pcapng, either byte order, micro- or nanoseconds; gzip, bzip2, xz, zstd. What is damaged is said
with its place. Several files: each good one is shown, each bad one is named. Exit code 1 when a file could not be
read or is damaged, 4 when all that is missing is a permission, 2 for a bad option or filter."""
_EXPORTS = ("zeek", "zeek-json", "parquet", "arrow")


def new_read_parser() -> argparse.ArgumentParser:
    """Make the parser for dumps and captures: one help for both."""
    parser = new_parser("read", "Read a capture, or a dump of netstat, ss, lsof or /proc/net/tcp.", EPILOG)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file, for captures also a folder; - is stdin")
    parser.add_argument(
        "--filter",
        metavar="FILTER",
        help="only these sockets; of captures: connections with such an end",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("-o", "--columns", metavar="A,B,+C", help="these columns; with + added to the usual ones")
    parser.add_argument("--sort", metavar="[-]COLUMN", help="by this column; with - descending")
    parser.add_argument("-H", "--no-header", action="store_true", help="no header line, no summary")
    add_names_option(parser)
    add_color_option(parser)
    group = parser.add_argument_group("captures")
    group.add_argument("--lines", action="store_true", help="every segment as tcpdump prints it, with states")
    group.add_argument("--ladder", type=int, metavar="N", help="every segment of connection N, both ends' states")
    group.add_argument("--svg", action="store_true", help="the ladder as SVG")
    group.add_argument("--state-at", metavar="TIME", help="sockets of both ends at +SECONDS, epoch or ISO time")
    group.add_argument("--export", choices=_EXPORTS, help="Zeek's conn.log, or tables for analysis")
    group.add_argument("--to", metavar="PATH", help="where --export writes (Zeek: standard output when absent)")
    group.add_argument("--csv", action="store_true", help="comma-separated values")
    group.add_argument("--limit", type=int, metavar="N", help="at most N lines (table: 50); 0 is all")
    group.add_argument("--cluster", metavar="ADDRESS", help="many files on the workers of a Dask scheduler")
    group.add_argument("--engine", choices=("auto", "python", "compiled"), default="auto", help="auto: by size")
    group.add_argument("--prepare", action="store_true", help="alone: compile the engine for large captures, once")
    return parser
