"""What a custom function can be, and how a function of each kind is called."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Kind:
    """One kind of custom function.

    Attributes
    ----------
    name : str
        ``image``, ``diagnostic``, ``scale_estimator`` or ``reader``.
    leading : tuple of str
        Names of the first parameters, which are handed over by position.
    keywords : tuple of str
        Parameters that are handed over by name.
    optional : tuple of str
        Parameters with defaults that are handed over by name where the function has them.
    signature : str
        How to define such a function.
    """

    name: str
    leading: tuple[str, ...]
    signature: str
    keywords: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def reserved(self) -> tuple[str, ...]:
        """Parameters that are no parameters of the user's."""
        return self.leading + self.keywords + self.optional


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("image", ("image",), "def NAME(image, sigma=2.0)"),
        Kind(
            "diagnostic",
            ("post_im", "pre_im"),
            "def NAME(post_im, pre_im, *, sample, dye, save_path=None)",
            keywords=("sample", "dye"),
            optional=("save_path",),
        ),
        Kind("scale_estimator", ("post", "pre"), "def NAME(post, pre)"),
        Kind("reader", ("path",), "def NAME(path, page=None)", optional=("page",)),
    )
}
"""By name. A memory type's decorator makes the kind ``image``; the others have their own."""

PLAIN: Final = "function"
"""Kind of a function object that was registered without a memory type."""
