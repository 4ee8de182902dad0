"""Duplicates, secondary registries, and classes that are made at run time."""

import logging
from abc import abstractmethod

import pytest

from exo2micro.registry import (
    PRIMARY_KEY,
    AutoRegisterMeta,
    DuplicateKeyError,
    RegistryError,
    SecondaryRegistry,
    SecondaryRegistryDict,
    UnknownKeyError,
    make_plugin_class,
    unregister_class,
)


def new_base(**attributes):
    return AutoRegisterMeta(
        "Base", (), {"__registry_key__": "name", "name": None, "__qualname__": "Base", **attributes}
    )


class TestDuplicates:
    def test_the_last_wins_and_both_are_named(self, caplog):
        base = new_base()
        type(base)("First", (base,), {"name": "same"})
        second = type(base)("Second", (base,), {"name": "same"})
        assert base.__registry__ == {"same": second}
        (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
        assert "First" in record.message
        assert "Second" in record.message
        assert "'same'" in record.message

    @pytest.mark.parametrize("attribute", ["__duplicate_policy__", "__registry_policy__"])
    def test_error_names_both_and_keeps_the_first(self, attribute):
        base = new_base(**{attribute: "error"})
        first = type(base)("First", (base,), {"name": "same"})
        with pytest.raises(DuplicateKeyError, match=r"Second claims.*'same'.*First holds"):
            type(base)("Second", (base,), {"name": "same"})
        assert base.__registry__ == {"same": first}

    def test_the_same_definition_again_is_a_replacement(self, caplog):
        base = new_base(__registry_policy__="error")

        def define():
            class Plot(base):
                name = "plot"

            return Plot

        define()
        again = define()
        assert base.__registry__ == {"plot": again}
        assert not caplog.records

    def test_a_class_of_another_module_is_no_replacement(self):
        base = new_base(__registry_policy__="error")
        type(base)("Plot", (base,), {"name": "plot", "__module__": "one"})
        with pytest.raises(DuplicateKeyError, match=r"two\.Plot claims.*one\.Plot holds"):
            type(base)("Plot", (base,), {"name": "plot", "__module__": "two"})

    def test_inherited_explicit_key_of_a_registered_class_is_a_duplicate(self):
        base = new_base(__registry_policy__="error")
        first = type(base)("First", (base,), {"name": "same"})
        with pytest.raises(DuplicateKeyError):
            type(base)("Child", (first,), {})

    def test_secondary_keys_too(self, caplog):
        for policy in ("error", "lenient"):
            secondary = {}
            base = new_base(
                __registry_policy__=policy,
                __secondary_registries__=[SecondaryRegistry(secondary, "suffix", "reader")],
            )
            first = {"name": "a", "suffix": ".tif", "reader": int}
            second = {"name": "b", "suffix": ".tif", "reader": float}
            type(base)("First", (base,), first)
            if policy == "error":
                with pytest.raises(DuplicateKeyError, match=r"First and .*Second.*'\.tif'"):
                    type(base)("Second", (base,), second)
                assert secondary == {".tif": int}
                assert list(base.__registry__) == ["a"]
            else:
                type(base)("Second", (base,), second)
                assert secondary == {".tif": float}
                assert "First and " in caplog.text
                assert "Second" in caplog.text


class TestSecondary:
    def test_primary_key_and_own_key(self):
        by_name, by_label = {}, {}
        base = new_base(
            __secondary_registries__=[
                SecondaryRegistry(by_name, PRIMARY_KEY, "helper"),
                SecondaryRegistry(by_label, "label", "helper"),
            ]
        )
        type(base)("P", (base,), {"name": "p", "label": "L", "helper": int})
        type(base)("Q", (base,), {"name": "q"})
        assert by_name == {"p": int}
        assert by_label == {"L": int}

    def test_no_secondary_key_is_logged_once(self, caplog):
        by_label = {}
        base = new_base(__secondary_registries__=[SecondaryRegistry(by_label, "label", "helper")])
        type(base)("P", (base,), {"name": "p", "helper": int})
        assert by_label == {}
        assert [r.levelno for r in caplog.records] == [logging.WARNING]
        assert "no label" in caplog.text

    def test_a_secondary_registry_dict_finds_its_primary(self):
        secondary = SecondaryRegistryDict()
        base = new_base(
            __secondary_registries__=[SecondaryRegistry(secondary, PRIMARY_KEY, "helper")]
        )
        assert secondary._primary_registry is base.__registry__
        type(base)("P", (base,), {"name": "p", "helper": int})
        assert secondary == {"p": int}

    def test_replacing_a_class_replaces_its_value(self):
        secondary = {}
        base = new_base(
            __registry_policy__="error",
            __secondary_registries__=[SecondaryRegistry(secondary, "label", "helper")],
        )
        for label, helper in (("old", int), ("new", float)):
            type(base)("P", (base,), {"name": "p", "label": label, "helper": helper})
        assert secondary == {"new": float}


class TestAtRunTime:
    def test_a_class_from_a_function_and_back(self):
        secondary = {}
        base = new_base(
            __registry_policy__="error",
            __secondary_registries__=[SecondaryRegistry(secondary, PRIMARY_KEY, "helper")],
        )

        def draw(post_im):
            return post_im + 1

        made = make_plugin_class(base, "mine", {"draw": staticmethod(draw), "helper": int})
        assert base.__registry__ == {"mine": made}
        assert secondary == {"mine": int}
        assert (made.name, made.__module__, made().draw(1)) == ("mine", __name__, 2)

        again = make_plugin_class(base, "mine", {"helper": float})
        assert base.__registry__ == {"mine": again}
        assert secondary == {"mine": float}
        with pytest.raises(DuplicateKeyError):
            make_plugin_class(base, "mine", module="elsewhere")

        assert base.__registry__.unregister("mine") is again
        assert base.__registry__ == {}
        assert secondary == {}

    def test_abstract_result_is_refused(self):
        class Base(metaclass=AutoRegisterMeta):
            __registry_key__ = "name"
            name = None

            @abstractmethod
            def draw(self):
                """Draw."""

        with pytest.raises(RegistryError, match="lacks draw"):
            make_plugin_class(Base, "mine")
        assert Base.__registry__ == {}
        with pytest.raises(RegistryError, match="no plugin family"):
            make_plugin_class(int, "mine")

    def test_unregister_class_of_a_family_in_a_plain_dict(self):
        registry, secondary = {}, {}
        base = new_base(
            __registry__=registry,
            __secondary_registries__=[SecondaryRegistry(secondary, PRIMARY_KEY, "helper")],
        )
        plugin = type(base)("P", (base,), {"name": "p", "helper": int})
        unregister_class(plugin)
        assert registry == {}
        assert secondary == {}
        for cls in (plugin, int):
            with pytest.raises(RegistryError, match="is not registered"):
                unregister_class(cls)

    def test_unknown_keys_are_answered_with_the_known_ones(self):
        base = new_base(__registry_name__="diagnostic")
        type(base)("P", (base,), {"name": "excess_heatmap"})
        message = r"^there is no diagnostic 'exces_heatmap'; did you mean 'excess_heatmap'\?"
        for ask in (base.__registry__.__getitem__, base.__registry__.unregister):
            with pytest.raises(UnknownKeyError, match=message):
                ask("exces_heatmap")
        with pytest.raises(KeyError):
            base.__registry__["exces_heatmap"]
