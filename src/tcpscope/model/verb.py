"""A room whose name is also a verb of the library: ``tcpscope.doctor(...)`` and ``tcpscope.explain(...)``.

Once such a room is imported it is an attribute of the package, and hides the verb that the package's ``__getattr__``
gives. So the room itself can be called, and does what the verb does.
"""

from __future__ import annotations

import sys
from types import ModuleType


class VerbRoom(ModuleType):
    """The class of such a room: ``sys.modules[__name__].__class__ = VerbRoom``."""

    def __call__(self, *arguments: object, **options: object) -> object:
        """Do what the verb does."""
        package, _, verb = self.__name__.rpartition(".")
        return sys.modules[package].find_verb(verb)(*arguments, **options)


def make_verb(room: str) -> None:
    """Let the module ``room`` be called."""
    sys.modules[room].__class__ = VerbRoom
