"""Which classes are registered, under which key, and what configures that."""

import logging
from abc import ABC, abstractmethod
from typing import Protocol

import pytest

from exo2micro.errors import Exo2microError
from exo2micro.registry import (
    AutoRegisterMeta,
    LazyDiscoveryDict,
    RegistryConfig,
    RegistryError,
    SecondaryRegistry,
    extract_key_from_backend_suffix,
    extract_key_from_handler_suffix,
    make_suffix_extractor,
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
