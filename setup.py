"""Build fastsched, with its compiled heap wherever there is a C compiler.

Everything else about the package is in ``pyproject.toml``.

FASTSCHED_PURE=1          build without the extension: a wheel for any platform
FASTSCHED_REQUIRE_EXT=1   fail if the extension cannot be compiled, instead of going without
"""

import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


def switched_on(name: str) -> bool:
    value = os.environ.get(name, "")
    if value not in ("", "0", "1"):
        raise SystemExit(f"{name} must be 0 or 1, not {value!r}")
    return value == "1"


class BuildHeap(build_ext):
    """`build_ext` that optimises, and says plainly what a missing compiler means."""

    def build_extension(self, ext: Extension) -> None:
        if self.compiler.compiler_type == "unix":
            ext.extra_compile_args.append("-O3")
        try:
            super().build_extension(ext)
        except Exception:
            if ext.optional:
                self.warn(
                    f"{ext.name} cannot be compiled here: fastsched will run on its slower "
                    "pure-Python heap. Set FASTSCHED_REQUIRE_EXT=1 to make this an error."
                )
            raise


def extensions() -> list[Extension]:
    if switched_on("FASTSCHED_PURE"):
        return []
    from Cython.Build import cythonize

    # The C file goes to build/, so it can end up in neither the tree nor a package.
    found = cythonize(
        [Extension("fastsched._heap", ["src/fastsched/_heap.pyx"])], build_dir="build", quiet=True
    )
    for extension in found:  # cythonize() drops `optional`, so it is set on what comes back
        extension.optional = not switched_on("FASTSCHED_REQUIRE_EXT")
    return found


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildHeap})
