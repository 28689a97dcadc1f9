"""The qkv attention explorer: lookups, pooling and heatmaps with queries, keys and values.

``Database`` holds keys and values, from files, data frames or arrays, and answers queries;
``attend``, ``lookup``, ``pool`` and ``learn`` do so in one line, and ``explore`` shows weights in a
notebook. The commands do nothing else.
"""

__version__ = "0.2.0"
__all__ = [
    "Database",
    "QkvError",
    "__version__",
    "attend",
    "capturing",
    "explore",
    "heads",
    "learn",
    "lookup",
    "pool",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from qkvcli.capture import capturing
    from qkvcli.database import Database, attend, learn, lookup, pool
    from qkvcli.errors import QkvError
    from qkvcli.heatmap.html.explore import explore
    from qkvcli.statistics import heads_of as heads


def __getattr__(name: str) -> object:
    """Import what is asked for when it is: the commands start without it."""
    if name == "QkvError":
        from qkvcli.errors import QkvError

        return QkvError
    if name == "explore":
        from qkvcli.heatmap.html.explore import explore

        return explore
    if name == "capturing":
        from qkvcli.capture import capturing

        return capturing
    if name == "heads":
        from qkvcli.statistics import heads_of

        return heads_of
    if name in __all__:
        from qkvcli import database

        return getattr(database, name)
    raise AttributeError(f"module 'qkvcli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
