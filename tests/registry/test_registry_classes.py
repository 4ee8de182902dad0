"""Which classes are registered, under which key, and what configures that."""

import logging
from abc import ABC, abstractmethod
from typing import Protocol

import pytest

from exo2micro.errors import Exo2microError
from exo2micro.registry import (
    PRIMARY_KEY,
    AutoRegisterMeta,
    DuplicateKeyError,
    LazyDiscoveryDict,
    RegistryConfig,
    RegistryError,
    SecondaryRegistry,
    SecondaryRegistryDict,
    UnknownKeyError,
    extract_key_from_backend_suffix,
    extract_key_from_handler_suffix,
    make_plugin_class,
    make_suffix_extractor,
    unregister_class,
)


def new_base(**attributes):
    return AutoRegisterMeta(
        "Base", (), {"__registry_key__": "name", "name": None, "__qualname__": "Base", **attributes}
    )


class TestConfiguredBy:
    def test_registry_config(self):
        registry = {}
        config = RegistryConfig(registry_dict=registry, key_attribute="kind")

        class Base(metaclass=AutoRegisterMeta, registry_config=config):
            kind = None

        class Disk(Base):
            kind = "disk"

        assert registry == {"disk": Disk}
        assert Base.__registry__ is registry
        assert Base.__registry_name__ == "plugin"

    def test_registry_config_as_class_attribute(self):
        registry = {}

        class Base(metaclass=AutoRegisterMeta):
            __registry_config__ = RegistryConfig(registry, "kind")
            kind = None

        class Disk(Base):
            kind = "disk"

        assert registry == {"disk": Disk}

    def test_metaclass_that_hands_the_config_on(self):
        registry = LazyDiscoveryDict(enable_cache=False)
        config = RegistryConfig(registry, "kind", extract_key_from_handler_suffix)

        class Meta(AutoRegisterMeta):
            def __new__(mcs, name, bases, attrs):
                return super().__new__(mcs, name, bases, attrs, registry_config=config)

        class Handler(ABC, metaclass=Meta):
            kind = None

        class ImageXpressHandler(Handler):
            pass

        assert registry == {"imagexpress": ImageXpressHandler}
        assert ImageXpressHandler.kind == "imagexpress"

    def test_metaclass_attributes(self):
        registry = {}

        class Meta(AutoRegisterMeta):
            __registry_dict__ = registry
            __registry_key__ = "kind"
            __key_extractor__ = staticmethod(make_suffix_extractor("Backend"))
            __registry_name__ = "storage"

        class Backend(metaclass=Meta):
            kind = None

        class DiskBackend(Backend):
            pass

        assert registry == {"disk": DiskBackend}
        assert Backend.__registry_name__ == "storage"

    def test_metaclass_key_without_registry_makes_one_for_each_family(self):
        class Meta(AutoRegisterMeta):
            __registry_key__ = "kind"

        class First(metaclass=Meta):
            kind = None

        class Second(metaclass=Meta):
            kind = None

        class A(First):
            kind = "a"

        assert First.__registry__ == {"a": A}
        assert Second.__registry__ == {}

    def test_class_attributes(self):
        secondary = {}

        class StorageBackend(metaclass=AutoRegisterMeta):
            __registry_key__ = "kind"
            __key_extractor__ = make_suffix_extractor("Backend")
            __skip_if_no_key__ = False
            __secondary_registries__ = [SecondaryRegistry(secondary, "label", "helper")]
            kind = None
            label = None
            helper = None

        class DiskBackend(StorageBackend):
            label = "D"
            helper = int

        assert isinstance(StorageBackend.__registry__, LazyDiscoveryDict)
        assert StorageBackend.__registry__ == {"disk": DiskBackend}
        assert secondary == {"D": int}

    def test_class_attribute_with_a_registry_of_the_users(self):
        registry = {}
        base = new_base(__registry__=registry)
        plugin = type(base)("P", (base,), {"name": "p"})
        assert registry == {"p": plugin}

    def test_parent_that_has_a_registry(self):
        base = new_base()

        class Middle(base):
            pass

        class Leaf(Middle):
            name = "leaf"

        assert Middle.__registry__ is base.__registry__
        assert base.__registry__ == {"leaf": Leaf}

    def test_parent_of_another_metaclass(self):
        class Plain:
            __registry__ = {}
            __registry_key__ = "name"
            name = None

        class Leaf(Plain, metaclass=AutoRegisterMeta):
            name = "leaf"

        assert Plain.__registry__ == {"leaf": Leaf}

    def test_registry_config_goes_before_class_attributes(self):
        registry = {}

        class Base(metaclass=AutoRegisterMeta, registry_config=RegistryConfig(registry, "kind")):
            __registry_key__ = "name"
            kind = None

        class A(Base):
            kind, name = "by kind", "by name"

        assert registry == {"by kind": A}

    def test_nothing(self):
        class Ordinary(metaclass=AutoRegisterMeta):
            pass

        class Child(Ordinary):
            pass

        assert not hasattr(Child, "__registry__")

    def test_a_subclass_with_another_key_begins_a_family(self):
        base = new_base()

        class Other(base):
            __registry_key__ = "kind"
            kind = None

        class Leaf(Other):
            kind = "leaf"

        assert base.__registry__ == {}
        assert Other.__registry__ == {"leaf": Leaf}

    def test_a_subclass_may_change_settings_for_its_own_subclasses(self):
        base = new_base()

        class Strict(base):
            __skip_if_no_key__ = False
            name = "strict"

        type(base)("Free", (base,), {})
        with pytest.raises(RegistryError, match="must have name attribute"):
            type(base)("Nameless", (Strict,), {"name": None})

    @pytest.mark.parametrize(
        ("class_name", "expected"),
        [
            ("StorageBackend", "storage backend"),
            ("TIFFReader", "tiff reader"),
            ("PluginBase", "plugin"),
            ("Diagnostic", "diagnostic"),
            ("Base", "base"),
            ("ArrayMemory2D", "array memory 2 d"),
        ],
    )
    def test_name_is_derived_from_camel_case(self, class_name, expected):
        base = AutoRegisterMeta(class_name, (), {"__registry_key__": "name", "name": None})
        assert base.__registry_name__ == expected

    def test_name_given(self):
        assert new_base(__registry_name__="raw reader").__registry_name__ == "raw reader"

    def test_registry_without_key_attribute_is_an_error(self):
        with pytest.raises(RegistryError, match="no __registry_key__"):
            AutoRegisterMeta("Base", (), {"__registry__": {}})

    @pytest.mark.parametrize(
        ("attribute", "value", "allowed"),
        [
            ("__registry_policy__", "strict", "error, lenient"),
            ("__duplicate_policy__", "first", "last, error"),
            ("__broken_module_policy__", "skip", "warn, error"),
        ],
    )
    def test_unknown_policies_are_refused(self, attribute, value, allowed):
        with pytest.raises(RegistryError, match=f"one of {allowed}, got '{value}'"):
            new_base(**{attribute: value})

    def test_defaults_of_the_config(self):
        config = RegistryConfig({}, "name")
        assert (config.duplicate_policy, config.broken_module_policy) == ("last", "warn")
        assert (config.skip_if_no_key, config.log_registration) == (False, True)
        assert (config.registry_name, config.discovery_package) == ("plugin", None)


class TestWhichClasses:
    def test_abstract_classes_are_not_registered_and_concrete_ones_are(self):
        class Base(metaclass=AutoRegisterMeta):
            __registry_key__ = "name"
            name = None

            @abstractmethod
            def run(self):
                """Do it."""

        class Half(Base):
            name = "half"

        class Marked(Base, ABC):
            name = "marked"

            def run(self):
                return 0

        class Full(Half):
            name = "full"

            def run(self):
                return 1

        assert Base.__registry__ == {"full": Full}
        with pytest.raises(TypeError, match="abstract"):
            Half()

    def test_baseless_classes_are_not_registered_even_with_a_key(self):
        assert new_base(name="base").__registry__ == {}

    def test_structural_bases_do_not_count(self):
        class Drawable(Protocol):
            pass

        registry = {}
        config = RegistryConfig(registry, "name")

        class Base(ABC, metaclass=AutoRegisterMeta, registry_config=config):
            name = "base"

        assert registry == {}
        assert isinstance(Base, AutoRegisterMeta)

    def test_a_family_base_with_a_mixin_needs_no_key(self):
        class Mixin:
            pass

        class Base(Mixin, metaclass=AutoRegisterMeta):
            __registry_key__ = "name"
            __skip_if_no_key__ = False
            name = None

        assert isinstance(Base, type)
        assert Base.__registry__ == {}

    def test_a_class_made_with_type_is_registered(self):
        base = new_base()
        made = type(base)("Made", (base,), {"name": "made"})
        assert base.__registry__["made"] is made


class TestKey:
    def test_explicit_before_extracted(self):
        base = new_base(__key_extractor__=make_suffix_extractor("Handler"))
        explicit = type(base)("DiskHandler", (base,), {"name": "other"})
        extracted = type(base)("TapeHandler", (base,), {})
        assert base.__registry__ == {"other": explicit, "tape": extracted}

    def test_it_is_stamped_back(self):
        base = new_base(__key_extractor__=make_suffix_extractor("Handler"))
        assert type(base)("TapeHandler", (base,), {}).name == "tape"

    def test_a_stamped_key_is_not_explicit_for_subclasses(self):
        base = new_base(__key_extractor__=make_suffix_extractor("Handler"))
        first = type(base)("TapeHandler", (base,), {})
        second = type(base)("FastTapeHandler", (first,), {})
        assert base.__registry__ == {"tape": first, "fasttape": second}

    def test_an_explicit_key_comes_from_an_abstract_parent_too(self):
        base = new_base(__key_extractor__=make_suffix_extractor("Handler"))

        class Half(base, ABC):
            name = "from parent"

        class WholeHandler(Half):
            pass

        assert base.__registry__ == {"from parent": WholeHandler}

    def test_the_extractor_gets_name_and_class(self):
        seen = []

        def extract(name, cls):
            seen.append((name, cls))
            return "key"

        base = new_base(__key_extractor__=extract)
        plugin = type(base)("P", (base,), {})
        assert seen == [("P", plugin)]
        assert base.__registry__ == {"key": plugin}

    @pytest.mark.parametrize("key", [None, ""])
    def test_missing_and_required(self, key):
        base = new_base(__skip_if_no_key__=False)
        with pytest.raises(ValueError, match=r"Nameless must have name attribute.*got None") as e:
            type(base)("Nameless", (base,), {"name": key})
        assert isinstance(e.value, Exo2microError)
        assert base.__registry__ == {}

    def test_missing_from_the_extractor_and_required(self):
        base = new_base(__skip_if_no_key__=False, __key_extractor__=lambda *_: None)
        with pytest.raises(RegistryError, match="must have name attribute"):
            type(base)("Nameless", (base,), {})

    def test_missing_and_skipped_is_still_a_class(self):
        base = new_base(__skip_if_no_key__=True)
        nameless = type(base)("Nameless", (base,), {})
        assert isinstance(nameless, type)
        assert base.__registry__ == {}

    def test_required_is_the_default_of_a_config_and_skipped_that_of_attributes(self):
        strict = AutoRegisterMeta(
            "B", (), {"name": None}, registry_config=RegistryConfig({}, "name")
        )
        with pytest.raises(RegistryError):
            type(strict)("Nameless", (strict,), {})
        lenient = new_base()
        assert isinstance(type(lenient)("Nameless", (lenient,), {}), type)

    def test_suffix_extractors(self):
        assert extract_key_from_handler_suffix("ImageXpressHandler", int) == "imagexpress"
        assert extract_key_from_handler_suffix("NoSuffix", int) == "nosuffix"
        assert extract_key_from_backend_suffix("DiskStorageBackend", int) == "diskstorage"
        assert make_suffix_extractor("Manager")("FileManager", int) == "file"
        assert make_suffix_extractor("")("FileManager", int) == "filemanager"

    @pytest.mark.parametrize(("wanted", "count"), [(True, 1), (False, 0)])
    def test_registration_is_logged_if_wanted(self, caplog, wanted, count):
        with caplog.at_level(logging.DEBUG, logger="exo2micro.registry"):
            base = new_base(__log_registration__=wanted)
            type(base)("P", (base,), {"name": "p"})
        assert (
            sum("registered" in r.message and "'p'" in r.message for r in caplog.records) == count
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
