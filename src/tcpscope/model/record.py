"""``NamedTuple`` without the price of importing :mod:`typing`.

Why: ``import typing`` costs more than a bare interpreter start, and words of the model are needed on the path
of ``tcpscope list``. Type checkers see the real :class:`typing.NamedTuple`; at run time the same syntax builds a
:func:`collections.namedtuple`: frozen, slotted, compared by value.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from collections import namedtuple

    class _RecordMeta(type):
        def __new__(mcs, name, bases, namespace):
            if not bases:
                return super().__new__(mcs, name, bases, namespace)
            fields = list(namespace.get("__annotations__", {}))
            defaults = [namespace.pop(field) for field in fields if field in namespace]
            base = namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])
            namespace["__slots__"] = ()
            namespace["__orig_bases__"] = bases
            return type(name, (base,), namespace)

    class NamedTuple(metaclass=_RecordMeta):
        """Base of every word: ``class Word(NamedTuple): field: type = default``."""
