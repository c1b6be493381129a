"""Every finding any test here brings about must tell commands that can be typed."""

import pytest
from tests.typed_remedies import check_remedies

from tcpscope.doctor.case import Case


@pytest.fixture(autouse=True)
def _commands_can_be_typed(monkeypatch):
    close = Case.close

    def checked(self, *arguments, **options):
        finding = close(self, *arguments, **options)
        check_remedies(finding)
        return finding

    monkeypatch.setattr(Case, "close", checked)
