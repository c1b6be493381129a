"""A namespace is remembered by a number that is never given again; inode numbers are."""

import pytest

from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.kernel.namespaces import read_cookie

pytestmark = pytest.mark.root


def test_cookies_are_never_given_again():
    cookies = []
    for _ in range(4):
        namespace = NetworkNamespace.create()
        with namespace.entered():
            cookies.append(read_cookie())
        namespace.close()
    assert len({*cookies, read_cookie()}) == 5
    assert all(cookies)
