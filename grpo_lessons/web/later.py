"""Modules that a page fetches when they are imported: `thin` puts this into its Python, as `sitecustomize`.

What most visits never import does not travel with them. Whatever imports it nevertheless finds it: the archive it came
from is fetched then, whole, while the import waits.
"""

import importlib
import importlib.util
import io
import sys
import zipfile
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

STDLIB = "python_whole.zip"


class Later:
    """A finder behind Python's own.

    Args:
        archives: modules by the archive that has them, as in {"jedi-0.19.2-py3-none-any.whl": ["jedi", "jedi.api", …]}.
        lazy: those of them that marimo imports at once and uses late, if ever: they are fetched when they are used.
    """

    def __init__(self, archives: dict[str, list[str]], lazy: tuple[str, ...] = ()):
        self.where = {module: archive for archive, modules in archives.items() for module in modules}
        self.lazy = lazy

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        """The module as Python's own finder sees it, once its archive is there; None where it does not come, or is not ours."""
        if name not in self.where:
            return None
        if name in self.lazy:
            return ModuleSpec(name, importlib.util.LazyLoader(_AtFirstUse(self)), is_package=True)
        return self.fetch(name, path)

    def fetch(self, name: str, path=None) -> ModuleSpec | None:
        """Fetch a module's archive and find the module in it."""
        archive, traced = self.where[name], sys.gettrace()
        sys.settrace(None)  # a reader's code may be counted step by step: none of these are its own
        try:
            unpack(archive, download(archive))
            self.where = {module: other for module, other in self.where.items() if other != archive}
            importlib.invalidate_caches()
            return PathFinder.find_spec(name, path)
        except OSError:
            return None  # the next import may have more luck
        finally:
            sys.settrace(traced)


class _AtFirstUse:
    """Loads a module that was imported long ago."""

    def __init__(self, later: Later):
        self.later = later

    def create_module(self, spec):
        return None

    def exec_module(self, module) -> None:
        spec = self.later.fetch(module.__name__)
        if spec is None:
            raise ModuleNotFoundError(f"{module.__name__} could not be fetched", name=module.__name__)
        module.__path__ = module.__spec__.submodule_search_locations = spec.submodule_search_locations
        module.__file__ = spec.origin
        spec.loader.exec_module(module)  # under its old spec, in which LazyLoader notes that it is being loaded


def download(archive: str) -> bytes:
    """An archive from beside Pyodide; the worker waits for it, as an import has to."""
    from js import XMLHttpRequest
    from pyodide_js import _api

    request = XMLHttpRequest.new()
    request.open("GET", f"{_api.config.indexURL}{archive}", False)
    request.responseType = "arraybuffer"
    try:
        request.send()
    except Exception as error:  # JavaScript's, of the network
        raise OSError(f"{archive}: {error}") from None
    if request.status != 200:
        raise OSError(f"{archive}: {request.status}")
    return request.response.to_bytes()


def unpack(archive: str, data: bytes) -> None:
    """Put an archive where its modules are looked for.

    The standard library takes the place of the part of it that came first, and fills up those of its packages that came
    with the others.
    """
    packages = Path(next(each for each in sys.path if each.endswith("site-packages")))
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        names = whole.namelist()
        if archive == STDLIB:
            Path(next(each for each in sys.path if each.endswith(".zip"))).write_bytes(data)
            names = [name for name in names if "/" in name and (packages / name.partition("/")[0]).is_dir()]
        whole.extractall(packages, names)
