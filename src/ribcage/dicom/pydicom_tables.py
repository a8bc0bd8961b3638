"""pydicom's tables without the rest of pydicom, which would load numpy and codecs: most of a command's start."""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


def pydicom_table(name: str) -> ModuleType:
    """One of pydicom's modules that hold a table and import nothing. Raises ImportError when it is not there."""
    package = find_spec("pydicom")
    if package is None or package.origin is None:
        raise ImportError("expected pydicom, got no such package; install the requirements")
    spec = spec_from_file_location(
        f"ribcage.dicom._tables{name}", Path(package.origin).with_name(f"{name}.py")
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"expected the table {name} of pydicom, got none; install the locked version")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
