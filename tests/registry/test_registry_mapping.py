"""A registry behaves like a dict, and no operation of a dict passes it undiscovered."""

import copy
import operator
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exo2micro.registry import (
    PRIMARY_KEY,
    AutoRegisterMeta,
    LazyDiscoveryDict,
    RegistryConfig,
    SecondaryRegistry,
    SecondaryRegistryDict,
    mapping,
)

NOT_MAPPING_OPERATIONS = {
    *("__class_getitem__", "__doc__", "__getattribute__", "__hash__", "__init__", "__new__"),
    *("__sizeof__", "fromkeys"),
}

OPERATIONS = {
    "getitem": lambda d: d["a"],
    "get": lambda d: d.get("a"),
    "get missing": lambda d: d.get("zz", 5),
    "contains": lambda d: "a" in d,
    "len": len,
    "bool": bool,
    "iter": list,
    "reversed": lambda d: list(reversed(d)),
    "keys": lambda d: list(d.keys()),
    "values": lambda d: list(d.values()),
    "items": lambda d: list(d.items()),
    "eq": lambda d: d == {"a": 1},
    "eq reflected": lambda d: operator.eq({"a": 1}, d),
    "ne": lambda d: d != {},
    "or": lambda d: d | {"x": 0},
    "ror": lambda d: {"x": 0} | d,
    "repr": repr,
    "str": str,
    "copy": lambda d: d.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "dict": dict,
    "unpack": lambda d: {**d},
    "keywords": lambda d: dict(**d),
    "update of another": lambda d: _with({}, lambda o: o.update(d)),
    "ior of another": lambda d: _with({}, lambda o: operator.ior(o, d)),
    "match": lambda d: _match(d),
    "format": lambda d: "{a}".format_map(d),
    "pop": lambda d: (d.pop("a"), dict(d)),
    "pop default": lambda d: (d.pop("zz", 3), dict(d)),
    "popitem": lambda d: (d.popitem(), dict(d)),
    "setdefault": lambda d: (d.setdefault("a", 9), dict(d)),
    "setitem": lambda d: (operator.setitem(d, "a", 9), dict(d)),
    "delitem": lambda d: (operator.delitem(d, "a"), dict(d)),
    "update": lambda d: (d.update({"a": 9}), dict(d)),
    "update keywords": lambda d: (d.update(a=9), dict(d)),
    "ior": lambda d: dict(operator.ior(d, {"a": 9})),
    "clear": lambda d: (d.clear(), dict(d)),
}


def _with(other, change):
    change(other)
    return other


def _match(d):
    match d:
        case {"a": value}:
            return value
    return None


def lazy(items, calls=None):
    """Return an undiscovered registry whose discovery finds ``items``."""
    registry = LazyDiscoveryDict(enable_cache=False)

    def discover(path, prefix, base):
        if calls is not None:
            calls.append(prefix)
        for key, value in items.items():
            registry._put(key, value)

    config = RegistryConfig(
        registry,
        "name",
        discovery_package="json",
        discovery_function=discover,
        entry_point_group=None,
    )
    AutoRegisterMeta("Base", (), {"name": None}, registry_config=config)
    return registry


def test_every_dict_method_is_covered():
    covered = set(mapping.READING) | set(mapping.MUTATING)
    assert set(vars(dict)) == covered | NOT_MAPPING_OPERATIONS
    assert all(vars(mapping.DiscoveringDict)[name] is not vars(dict)[name] for name in covered)


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_passes_undiscovered(name):
    items = {"a": 1, "b": 2}
    calls = []
    registry = lazy(items, calls)
    assert not registry._discovered
    result = OPERATIONS[name](registry)
    assert result == OPERATIONS[name](dict(items))
    assert calls == ["json."]
    assert registry._discovered
    OPERATIONS["len"](registry)
    assert calls == ["json."]


@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in ("copy.copy", "copy.deepcopy")])
def test_no_operation_passes_a_secondary_dict_undiscovered(name):
    primary = LazyDiscoveryDict(enable_cache=False)
    secondary = SecondaryRegistryDict(primary)
    calls = []

    def discover():
        if not calls:
            calls.append(1)
            secondary._put("a", 1)
            secondary._put("b", 2)

    primary._discover = discover
    assert OPERATIONS[name](secondary) == OPERATIONS[name]({"a": 1, "b": 2})
    assert calls == [1]


@pytest.mark.parametrize("operation", [operator.eq, operator.ne, operator.or_, operator.ior])
def test_the_other_operand_is_discovered_too(operation):
    one, other = {"a": 1}, {"b": 2}
    assert operation(lazy(one), lazy(other)) == operation(dict(one), dict(other))
    assert operation(lazy(one), lazy(one)) == operation(dict(one), dict(one))
    registry = lazy(one)
    registry.update(lazy(other))
    assert registry == {"a": 1, "b": 2}


keys = st.sampled_from(["a", "b", "c", "d", "é", ""])
values = st.sampled_from([int, str, float, bytes])
items = st.dictionaries(keys, values)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("__setitem__"), keys, values),
        st.tuples(st.just("__delitem__"), keys),
        st.tuples(st.just("__getitem__"), keys),
        st.tuples(st.just("__contains__"), keys),
        st.tuples(st.just("get"), keys, values),
        st.tuples(st.just("pop"), keys),
        st.tuples(st.just("pop"), keys, values),
        st.tuples(st.just("popitem")),
        st.tuples(st.just("setdefault"), keys, values),
        st.tuples(st.just("update"), items),
        st.tuples(st.just("__or__"), items),
        st.tuples(st.just("__ror__"), items),
        st.tuples(st.just("__ior__"), items),
        st.tuples(st.just("__eq__"), items),
        st.tuples(st.just("__ne__"), items),
        st.tuples(st.just("clear")),
        st.tuples(st.just("copy")),
        st.tuples(st.just("__len__")),
        st.tuples(st.just("__repr__")),
        st.tuples(st.sampled_from(["keys", "values", "items", "__iter__", "__reversed__"])),
    ),
    max_size=12,
)


def _outcome(target, step):
    name, *arguments = step
    try:
        result = getattr(target, name)(*arguments)
    except KeyError:
        return KeyError
    if name in ("keys", "values", "items", "__iter__", "__reversed__"):
        return list(result)
    return dict(result) if isinstance(result, dict) else result


@given(found=items, steps=steps)
def test_after_discovery_it_is_a_dict(found, steps):
    registry, model = lazy(found), dict(found)
    for step in steps:
        assert _outcome(registry, step) == _outcome(model, step)
    assert list(registry.items()) == list(model.items())


@given(found=items, steps=steps)
def test_secondary_dicts_follow_every_change(found, steps):
    """Each class has itself as value, so primary and secondary must stay equal."""
    secondary = {}
    registry = LazyDiscoveryDict(enable_cache=False)
    config = RegistryConfig(
        registry,
        "name",
        entry_point_group=None,
        secondary_registries=[SecondaryRegistry(secondary, PRIMARY_KEY, "__mro__")],
    )
    AutoRegisterMeta("Base", (), {"name": None}, registry_config=config)
    registry.update(found)
    for step in steps:
        _outcome(registry, step)
    assert secondary == {key: cls.__mro__ for key, cls in registry.items()}


def test_assignment_before_discovery_is_not_overwritten_by_it():
    registry = lazy({"a": int})
    registry["a"] = str
    assert registry == {"a": str}


def test_unhashable_like_a_dict():
    with pytest.raises(TypeError):
        hash(lazy({}))


def test_copies_are_plain_dicts():
    registry = lazy({"a": int})
    for made in (registry.copy(), copy.copy(registry), copy.deepcopy(registry), registry | {}):
        assert type(made) is dict
        assert made == {"a": int}


class TestPickling:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_without_a_family_the_entries_travel(self, protocol):
        registry = LazyDiscoveryDict(enable_cache=False)
        registry["a"] = int
        made = pickle.loads(pickle.dumps(registry, protocol))
        assert type(made) is LazyDiscoveryDict
        assert made == {"a": int}
        assert made._enable_cache is False
        made["b"] = str
        secondary = SecondaryRegistryDict(registry)
        secondary["x"] = float
        assert pickle.loads(pickle.dumps(secondary, protocol)) == {"x": float}

    def test_a_family_travels_as_a_reference(self, make_package):
        package = make_package(plugins=("one",))
        base = package.load()
        data = pickle.dumps((base.PLUGINS, base.HELPERS))
        assert package.imported == {"base"}
        plugins, helpers = pickle.loads(data)
        assert plugins is base.PLUGINS
        assert helpers is base.HELPERS

    def test_another_process_discovers_for_itself(self, make_package, tmp_path):
        package = make_package(plugins=("one", "two"))
        base = package.load()
        file = tmp_path / "registry.pickle"
        file.write_bytes(pickle.dumps((base.HELPERS, base.PLUGINS)))
        code = (
            "import pathlib, pickle, sys\n"
            f"sys.path.insert(0, {str(package.folder.parent)!r})\n"
            f"helpers, plugins = pickle.loads(pathlib.Path({str(file)!r}).read_bytes())\n"
            "print(sorted(helpers), sorted(plugins), plugins['one']().name)"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == "['one', 'two'] ['one', 'two'] one"
