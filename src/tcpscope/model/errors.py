"""Errors a person is told about: one line that says what, where and what to do. Never shown as a traceback."""

from __future__ import annotations


class TcpscopeError(Exception):
    """Something failed while running (exit code 1)."""

    exit_code = 1


class UsageError(TcpscopeError):
    """A bad option, filter or state name (exit code 2). A file that cannot be read is none: that is 1."""

    exit_code = 2


class NotPermitted(TcpscopeError):
    """A privilege is missing; the message names it (exit code 4)."""

    exit_code = 4


class Unsupported(TcpscopeError):
    """This kernel or this installation lacks a feature; the message names it and the nearest way round."""
