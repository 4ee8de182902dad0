"""Random values of parameters and options, as hypothesis draws them."""

from hypothesis import strategies as st

from exo2micro.config import Layer
from exo2micro.config.options import OPTIONS
from exo2micro.config.source import Setting, Source
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.parameter import Parameter, Value

RUN_LAYERS = ("user file", "project file", "batch", "run", "stage")

TOGETHER = ("scale_min", "scale_max")
"""Parameters that may contradict each other; random values are drawn for the others."""


def values_of(row: Parameter) -> st.SearchStrategy[Value]:
    """Return a strategy for the values of a row."""
    if row.kind is bool:
        values: st.SearchStrategy[Value] = st.booleans()
    elif row.kind is str:
        words = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
        allowed = words.filter(lambda w: _is_allowed(row, w))
        values = st.sampled_from(row.choices) if row.choices else allowed
    else:
        low, high = row.bounds
        low, high = (-1e6 if low is None else low), (1e6 if high is None else high)
        values = (
            st.integers(int(low), int(high))
            if row.kind is int
            else st.floats(low, high, allow_nan=False)
        )
    values = values.map(lambda value: row.validated(value, "value"))
    return st.none() | values if row.nullable else values


def _is_allowed(row: Parameter, word: str) -> bool:
    try:
        return row.validated(word, "value") is not None
    except ValueError:
        return False


def another_value(row: Parameter, avoid: tuple[Value, ...] = ()) -> Value:
    """Return some allowed value other than the default and those to avoid."""
    taken = (row.default, *avoid)
    if row.kind is bool:
        return not row.default
    if row.kind is str:
        words = row.choices or ("first", "second", "third", "fourth", "fifth", "sixth")
        return next((w for w in words if w not in taken and _is_allowed(row, w)), words[-1])
    low, high = row.bounds
    low = 0 if low is None else low
    high = low + 1000 if high is None else high
    steps = (low + (high - low) * n / 64 for n in range(1, 64))
    wanted = (row.kind(round(s) if row.kind is int else s) for s in steps)
    return next(value for value in wanted if value not in taken)


def parameter_values(
    *, section: str = "pipeline", max_size: int = 8
) -> st.SearchStrategy[dict[str, Value]]:
    """Return a strategy for some parameters, or options of one table, with values."""
    rows = PARAMETER_REGISTRY if section == "pipeline" else OPTIONS[section]
    names = [name for name in rows if name not in TOGETHER]
    chosen = st.lists(st.sampled_from(names), max_size=max_size, unique=True)
    return chosen.flatmap(
        lambda n: st.fixed_dictionaries({name: values_of(rows[name]) for name in n})
    )


def layers() -> st.SearchStrategy[Layer]:
    """Return a strategy for layers of any kind."""
    return st.builds(
        lambda kind, values: Layer(
            kind, {n: Setting(v, Source(kind, f"the {kind}")) for n, v in values.items()}
        ),
        st.sampled_from(RUN_LAYERS),
        parameter_values(),
    )
