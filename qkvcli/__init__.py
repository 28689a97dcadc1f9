"""The qkv attention explorer: lookups, pooling and heatmaps with queries, keys and values.

``attend`` pools arrays and lists in memory; ``pool`` and ``lookup`` ask files, as the commands do.
"""

__version__ = "0.1.0"
__all__ = ["QkvError", "__version__", "attend", "lookup", "pool"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from qkvcli.api import attend, lookup, pool
    from qkvcli.errors import QkvError


def __getattr__(name: str) -> object:
    """Import what is asked for when it is: the commands start without it."""
    if name == "QkvError":
        from qkvcli.errors import QkvError

        return QkvError
    if name in __all__:
        from qkvcli import api

        return getattr(api, name)
    message = f"module 'qkvcli' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
