"""What PowerShell's ``Get-NetTCPConnection`` shows: as a table, as a list, as CSV; any choice of columns.

``LocalAddress LocalPort RemoteAddress RemotePort State [AppliedSetting] [OwningProcess]``: the headings say which
columns there are, and a listener leaves AppliedSetting empty.
"""

from __future__ import annotations

from tcpscope.dumps.rows import is_count, make_socket, state_without_name
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket
from tcpscope.model.state import State

_PORTS = ("LocalPort", "RemotePort", "OwningProcess")
_NAMES = ("ProcessName", "Process", "Name")


class PowershellReader:
    """Reads rows once it has seen headings, and the lines of a list."""

    def __init__(self) -> None:
        self.columns: list[str] = []
        self.is_csv = False
        self.is_udp = False
        self.is_stateless = False
        self.listed: dict[str, str] = {}

    def read_heading(self, words: list[str]) -> None:
        """Take headings, or the command that asks for UDP."""
        names = [word.strip('"') for word in " ".join(words).split(",")] if words[0][:1] == '"' else words
        if "LocalAddress" in names and "LocalPort" in names:
            self.columns, self.is_csv = names, names is not words
        elif any("Get-Net" in word for word in words):
            self.is_udp = "UDP" in " ".join(words)

    def read(self, words: list[str]) -> Socket | None:
        """Read a row of the table, or the first line of the next socket of a list; ``None`` when it is none."""
        if len(words) > 1 and words[1] == ":" and words[0].isalpha():
            completed = self.complete() if words[0] == "LocalAddress" else None
            if words[0] == "LocalAddress" or self.listed:
                self.listed[words[0]] = " ".join(words[2:])
            return completed
        if not self.columns or words[0][:1] == "-":
            return None
        fields = self._cells(words)
        return None if fields is None else self._socket(fields)

    def complete(self) -> Socket | None:
        """Return the socket of the list that was collected so far."""
        fields, self.listed = self.listed, {}
        return self._socket(fields) if "LocalPort" in fields else None

    def _cells(self, words: list[str]) -> dict[str, str] | None:
        if self.is_csv:
            cells = [cell.strip('"') for cell in " ".join(words).split('","')]
            return dict(zip(self.columns, cells, strict=True)) if len(cells) == len(self.columns) else None
        cells, fields = list(words), {}
        for column in self.columns:
            if cells and (column not in _PORTS or is_count(cells[0])) and _fits(column, cells[0]):
                fields[column] = cells.pop(0)
            elif column in ("LocalAddress", "LocalPort", "RemoteAddress", "RemotePort", "State"):
                return None
        return fields

    def _socket(self, fields: dict[str, str]) -> Socket | None:
        local = _end(fields.get("LocalAddress", ""), fields.get("LocalPort", ""))
        none = Endpoint("::" if local and local.is_ipv6 else "0.0.0.0", 0)
        remote = _end(fields["RemoteAddress"], fields.get("RemotePort", "")) if "RemoteAddress" in fields else none
        state = _state(fields["State"]) if "State" in fields else state_without_name(none if remote is None else remote)
        if local is None or remote is None or state is None:
            return None
        pid = fields.get("OwningProcess", "")
        name = next((fields[name] for name in _NAMES if name in fields), "")
        owners = (Owner(int(pid), name),) if is_count(pid) and int(pid) else ()
        if self.is_udp and "State" not in fields:
            return make_socket("udp", State.CLOSED, local, remote, (0, 0), owners)
        self.is_stateless = self.is_stateless or "State" not in fields
        return make_socket("tcp", state, local, remote, (0, 0), owners)


def _fits(column: str, cell: str) -> bool:
    if column == "AppliedSetting":
        return cell.isalpha()
    if column == "State":
        return _state(cell) is not None
    return "Address" not in column or ":" in cell or "." in cell


def _state(text: str) -> State | None:
    try:
        return State.parse(text)
    except ValueError:
        return None


def _end(address: str, port: str) -> Endpoint | None:
    if not is_count(port) or int(port) > 65535 or not (":" in address or "." in address):
        return None
    return Endpoint(address.partition("%")[0], int(port))
