"""The walk through the sources, from a function to all that it can reach."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from okml.code_key.modules import CodePart, Module, plain
from okml.code_key.names import Chain, Function, Names

WHOLE = ".*"  # suffix of the name of a class: all of its methods count
# Modules, and parts of modules, that compute no result: they draw, print, or store results.
NO_NUMBERS = frozenset({
    "chapters", "cli", "clock", "code_key", "errors", "experiment", "kept", "lifeline", "locks",
    "notebooks", "paths", "plotting", "quiet", "runlog", "runtime.progress",
    "runtime.show_progress", "site", "status", "steps.Steps", "steps.announced", "tables",
    "training.events", "warm",
})  # fmt: skip
DRAWING = "figures"  # a package of each chapter
NUMBERS_IN_DATA = frozenset({"logs", "models"})  # the rest of `data` fetches and verifies files
# Bases that call special methods only.
PLAIN_BASES = frozenset({
    "object", "Exception", "ValueError", "abc.ABC", "enum.Enum", "enum.StrEnum", "typing.Generic",
    "pydantic.BaseModel", "typing.NamedTuple", "typing.Protocol", "typing.TypedDict",
})  # fmt: skip
# Decorators under which a method is still called by its name only.
PLAIN_DECORATORS = frozenset({
    "property", "staticmethod", "classmethod", "abc.abstractmethod", "contextlib.contextmanager",
    "functools.cache", "functools.cached_property", "functools.lru_cache", "typing.overload",
    "okml.training.recent.recently_trained",
})  # fmt: skip
# Libraries that compute no result, beside the standard library.
NO_NUMBER_LIBRARIES = frozenset({
    "filelock", "matplotlib", "pooch", "psutil", "pydantic", "rich", "threadpoolctl", "tqdm",
    "typer", "yaml",
})  # fmt: skip
DISTRIBUTIONS = {
    "PIL": "pillow", "faiss": "faiss-cpu", "sklearn": "scikit-learn"
}  # fmt: skip


@dataclass(frozen=True)
class Code:
    """The code that some functions can reach.

    Attributes:
        parts: SHA-256 of each function, class body, method and constant, by its full name.
        libraries: Import names of the other packages that this code names.
        words: Names of attributes, and string constants, in this code.
    """

    parts: Mapping[str, str]
    libraries: frozenset[str]
    words: frozenset[str]

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries that make numbers."""
        counted = self.libraries - NO_NUMBER_LIBRARIES - sys.stdlib_module_names
        return {name: _version(name) for name in sorted(counted)}

    def key(self) -> str:
        """Return the SHA-256 of all parts."""
        return hashlib.sha256(json.dumps(self.parts, sort_keys=True).encode()).hexdigest()


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(DISTRIBUTIONS.get(package, package))
    except metadata.PackageNotFoundError:
        return "not installed"


class Sources:
    """The sources of a package, read and taken apart as they are asked for.

    Args:
        folder: The package's folder, whose name is that of the package.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._modules: dict[str, Module | None] = {}
        self._reached: dict[tuple[str, ...], Code] = {}
        # What walks have found about parts, which no other walk changes.
        self.contents: dict[CodePart, tuple[list[CodePart | str], str]] = {}
        self.called_elsewhere: dict[CodePart, bool] = {}

    def reach(self, *entries: str) -> Code:
        """Return the code that functions, methods or classes can reach.

        Args:
            entries: Full names. A class stands for one of its objects, whose methods count as
                far as they are used; with ``.*`` behind it, all of them count.

        Raises:
            KeyError: If the sources have no such name.
        """
        if entries not in self._reached:
            self._reached[entries] = _Walk(self).from_all(entries)
        return self._reached[entries]

    def module(self, name: str) -> Module | None:
        """Return a module by its full name; None if the package has none."""
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> Module | None:
        package, *inner = name.split(".")
        if package != self.folder.name:
            return None
        path = self.folder.joinpath(*inner)
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
                return Module(name, file.name == "__init__.py", tree)
        return None

    def makes_numbers(self, name: str) -> bool:
        """Tell whether a module, or a part of one, can change a result."""
        _, *inner = name.split(".")
        before = (".".join(inner[:length]) for length in range(1, len(inner) + 1))
        if DRAWING in inner or not NO_NUMBERS.isdisjoint(before):
            return False
        return inner[:1] != ["data"] or not NUMBERS_IN_DATA.isdisjoint(inner[1:2])

    def find(self, name: str) -> CodePart:
        """Return a part by its full name.

        Raises:
            KeyError: If there is none.
        """
        names = name.split(".")
        for length in range(len(names) - 1, 0, -1):
            if module := self.module(".".join(names[:length])):
                return module.parts[".".join(names[length:])]
        raise KeyError(name)


@cache
def package_sources() -> Sources:
    """Return the sources of okml."""
    return Sources(Path(__file__).parents[1])


def full_name(thing: Any) -> str:
    """Return the name of a function, method, cached property or class in the sources."""
    inner = getattr(thing, "func", thing)
    return f"{inner.__module__}.{inner.__qualname__}"


@cache
def code_key_of(chapter: str) -> str:
    """Return the key of all code that makes the numbers of a chapter's record.

    A record with another key was made by other code.
    """
    return package_sources().reach(f"okml.{chapter}.experiment.Experiment{WHOLE}").key()


class _Walk:
    """One walk from some entries through all that they can reach."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.parts: dict[str, str] = {}
        self.libraries: set[str] = set()
        self.words: set[str] = set()
        self._imported: set[str] = set()
        self._unasked: dict[str, list[CodePart]] = defaultdict(list)  # methods by their names
        self._waiting: list[CodePart] = []

    def from_all(self, entries: Iterable[str]) -> Code:
        for entry in entries:
            part = self.sources.find(entry.removesuffix(WHOLE))
            owner = part.module.parts[part.name.split(".")[0]]  # the class of a method
            self._waiting += [owner, part, *(part.methods if entry.endswith(WHOLE) else ())]
        while self._waiting:
            part = self._waiting.pop()
            if part.full_name not in self.parts and self.sources.makes_numbers(part.full_name):
                self._visit(part)
        parts = dict(sorted(self.parts.items()))
        return Code(parts, frozenset(self.libraries), frozenset(self.words))

    def _visit(self, part: CodePart) -> None:
        self._import(part.module.name)
        for targets in part.names.imports.values():
            for target in targets:
                self._import(".".join(target))
        if part not in self.sources.contents:
            self.sources.contents[part] = self._content(part)
        meanings, self.parts[part.full_name] = self.sources.contents[part]
        self._waiting += [found for found in meanings if isinstance(found, CodePart)]
        self.libraries.update(found.split(".")[0] for found in meanings if isinstance(found, str))
        for word in part.names.words - self.words:
            self.words.add(word)
            self._waiting += self._unasked.pop(word, [])
        for method in part.methods:
            self._offer(part, method)

    def _content(self, part: CodePart) -> tuple[list[CodePart | str], str]:
        """Return the parts and foreign names that a part refers to, and its SHA-256."""
        behind = {chain: self._meanings(part, chain) for chain in sorted(part.names.chains)}
        # Equal syntax is different code where its names resolve differently.
        meant = [[chain, *sorted(map(_called, targets))] for chain, targets in behind.items()]
        content = [[plain(tree) for tree in part.trees], meant]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        return [found for targets in behind.values() for found in targets], digest

    def _offer(self, owner: CodePart, method: CodePart) -> None:
        """Queue a method of a reached class: now, or once its name is used."""
        name = method.name.rpartition(".")[2]
        special = name.startswith("__") and name.endswith("__")
        known = self.sources.called_elsewhere
        if method not in known:
            known[method] = self._called_elsewhere(owner, method)
        if special or name in self.words or known[method]:
            self._waiting.append(method)
        else:
            self._unasked[name].append(method)

    def _called_elsewhere(self, owner: CodePart, method: CodePart) -> bool:
        """Tell whether another library may call a method."""
        decorators = (
            decorator
            for tree in method.trees
            if isinstance(tree, Function)
            for decorator in tree.decorator_list
        )
        plain_name = all(
            _called(found) in PLAIN_DECORATORS
            for decorator in decorators
            for found in self._expression(owner, decorator)
        )
        return not plain_name or self._has_foreign_base(owner)

    def _has_foreign_base(self, owner: CodePart) -> bool:
        bases = [
            found
            for tree in owner.trees
            if isinstance(tree, ast.ClassDef)
            for base in tree.bases
            for found in self._expression(owner, base)
        ]
        return any(
            self._has_foreign_base(base) if isinstance(base, CodePart) else base not in PLAIN_BASES
            for base in bases
        )

    def _expression(self, owner: CodePart, node: ast.expr) -> list[CodePart | str]:
        """Return the parts or foreign names of a decorator or base, without its arguments."""
        while isinstance(node, ast.Call | ast.Subscript):
            node = node.func if isinstance(node, ast.Call) else node.value
        names = Names(owner.module.package)
        names.visit(node)
        return [
            found
            for chain in names.chains
            for found in self._meanings(owner, chain) or [".".join(chain)]
        ]

    def _meanings(self, part: CodePart, chain: Chain) -> list[CodePart | str]:
        """Return the parts, or the names in other libraries, that a name refers to."""
        head, *rest = chain
        if head in part.module.parts:
            return [part.module.parts[head]]
        targets = (*part.module.imports.get(head, ()), *part.names.imports.get(head, ()))
        return [found for target in targets for found in self._behind((*target, *rest))]

    def _behind(
        self, chain: Chain, followed: frozenset[Chain] = frozenset()
    ) -> list[CodePart | str]:
        """Return the parts of a dotted name; ``followed`` are the imports on the way to it."""
        module = self.sources.module(chain[0])
        if module is None:
            return [".".join(chain)]
        return self._inside(module, chain[1:], followed)

    def _inside(
        self, module: Module, chain: Chain, followed: frozenset[Chain]
    ) -> list[CodePart | str]:
        """Return the parts that a name refers to in a module.

        A package may have a module and something else of the same name: both are returned.
        """
        if not chain:  # the module itself is handed on
            return [part for name, part in module.parts.items() if name]
        name, rest = chain[0], chain[1:]
        here = (module.name, name)
        found: list[CodePart | str] = [module.parts[name]] if name in module.parts else []
        if here not in followed:
            for target in module.imports.get(name, ()):
                found += self._behind((*target, *rest), followed | {here})
        if inner := self.sources.module(f"{module.name}.{name}"):
            found += self._inside(inner, rest, followed)
        return found

    def _import(self, name: str) -> None:
        """Queue the import-time statements of a module, and of the modules that it imports."""
        if name in self._imported:
            return
        self._imported.add(name)
        if package := name.rpartition(".")[0]:
            self._import(package)
        module = self.sources.module(name)
        if module is None or not self.sources.makes_numbers(name):
            return
        if "" in module.parts:
            self._waiting.append(module.parts[""])
        for targets in module.imports.values():
            for target in targets:
                self._import(".".join(target))


def _called(found: CodePart | str) -> str:
    return found if isinstance(found, str) else found.full_name
