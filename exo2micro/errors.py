"""Typed errors: each names what happened, the value, what is allowed and what to do next."""


class Exo2microError(Exception):
    """Base class of every error that the package raises on purpose."""


class ParameterError(Exo2microError, ValueError):
    """A parameter has an unknown name, a wrong type or a value out of range."""


class ConfigError(ParameterError):
    """A configuration file or edited configuration cannot be read or says what is not allowed."""


class SuffixError(Exo2microError, ValueError):
    """A file name's parameter suffix cannot be decoded."""


class RawFileNotFoundError(Exo2microError, FileNotFoundError):
    """A raw file or folder that is needed does not exist."""


class RawPairingError(Exo2microError, ValueError):
    """Raw files do not form exactly one pre/post pair for a sample and dye."""


class RawPairMissingError(RawPairingError, RawFileNotFoundError):
    """What was asked for has no complete pair in the raw folder."""


class RawReadError(Exo2microError, OSError):
    """A raw file exists but cannot be read: truncated, unknown format, unsupported layout."""


class RawPagesError(Exo2microError, ValueError):
    """A raw file holds several pages or channels and none was chosen."""


class ImageContentError(Exo2microError, ValueError):
    """An image is readable but cannot be used: blank, saturated, too small, not finite."""


class RegistrationError(Exo2microError, ValueError):
    """The images of a pair cannot be registered."""


class ScaleError(Exo2microError, ValueError):
    """The brightness scale cannot be estimated."""


class CheckpointError(Exo2microError, OSError):
    """A checkpoint or its record is missing, damaged or does not belong to this run."""


class OutputError(Exo2microError, OSError):
    """An output cannot be written: disk full, read-only, name refused."""


class OutputLockedError(Exo2microError, OSError):
    """Another process is working in the same output folder."""


class InsufficientMemoryError(Exo2microError, MemoryError):
    """The work does not fit into the memory that is free."""


class InsufficientDiskError(Exo2microError, OSError):
    """The output does not fit onto the disk."""


class MemoryTypeError(Exo2microError, TypeError):
    """An array-memory type or device does not exist, or an array fits none."""


class FrameworkMissingError(Exo2microError, ImportError):
    """An array framework that a function asks for is not installed."""


class MissingPackageError(Exo2microError, ImportError):
    """An optional package that was asked for is not installed."""


class ClusterError(Exo2microError, OSError):
    """The machines of a cluster cannot be reached."""


class CustomFunctionError(Exo2microError, ValueError):
    """A custom function cannot be registered, loaded or found, or the store cannot be used."""


class UnknownFunctionError(CustomFunctionError, KeyError):
    """No custom function of this name is known."""

    # KeyError would show the message quoted and escaped.
    __str__ = Exception.__str__


class ValidationError(CustomFunctionError):
    """The source of a custom function breaks a rule.

    Parameters
    ----------
    message : str
        Which rule, and what to do.
    line_number : int
        Line of the source, from 1.
    code_snippet : str
        That line.
    """

    def __init__(self, message: str, line_number: int, code_snippet: str) -> None:
        super().__init__(message, line_number, code_snippet)

    @property
    def message(self) -> str:
        """Which rule, and what to do."""
        return str(self.args[0])

    @property
    def line_number(self) -> int:
        """Line of the source, from 1."""
        return int(self.args[1])

    @property
    def code_snippet(self) -> str:
        """The line."""
        return str(self.args[2])

    def __str__(self) -> str:
        return f"line {self.line_number}: {self.message}\n    {self.code_snippet}"


class IsolationError(CustomFunctionError, RuntimeError):
    """A function in a process of its own was stopped, crashed or returned what cannot be sent."""


class CustomStageError(CustomFunctionError, RuntimeError):
    """A custom function failed as an extra stage, or returned what cannot be used as an image."""


class DetectionError(Exo2microError, ValueError):
    """A difference cannot be searched for objects: empty, not to be trusted, not a difference."""


class FailedVerdictError(DetectionError):
    """The verdict on a difference is FAIL, and nobody asked to use it all the same."""
