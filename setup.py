"""Build of the Cython core: one extension per ``kafkax/_core/*.pyx``; metadata stands in pyproject.toml.

``KAFKAX_DEBUG=1`` builds with asserts, AddressSanitizer and UndefinedBehaviorSanitizer; ``KAFKAX_TSAN=1`` with ThreadSanitizer.
A failed build is an error: there is no slower fallback that would hide it.
"""

from __future__ import annotations

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = Path("kafkax/_core")
C_SOURCES = {"crc32c": ["crc32c_impl.c"]}
"""Own C, in ``kafkax/_core/c``, that an extension links."""


def compile_flags() -> tuple[list[str], list[str]]:
    """Flags for compiling and linking, by the build that the environment asks for."""
    common = ["-std=gnu11", "-Wall", "-Wno-unused-function", "-fvisibility=hidden", "-pthread"]
    if os.environ.get("KAFKAX_DEBUG") == "1":
        sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
        return [*common, "-O1", "-g1", "-UNDEBUG", "-DKAFKAX_DEBUG=1", *sanitize], ["-pthread", *sanitize]
    if os.environ.get("KAFKAX_TSAN") == "1":
        return [*common, "-O1", "-g1", "-UNDEBUG", "-fsanitize=thread"], ["-pthread", "-fsanitize=thread"]
    return [*common, "-O3", "-g1", "-DCYTHON_WITHOUT_ASSERTIONS=1"], ["-pthread"]


def extensions() -> list[Extension]:
    """One extension per core module."""
    compile_args, link_args = compile_flags()
    headers = [str(header) for header in sorted((CORE / "c").glob("*.h"))]
    return [
        Extension(
            f"kafkax._core.{pyx.stem}",
            [str(pyx), *(str(CORE / "c" / name) for name in C_SOURCES.get(pyx.stem, []))],
            include_dirs=[str(CORE / "c")],
            depends=headers,
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
        for pyx in sorted(CORE.glob("*.pyx"))
    ]


if __name__ == "__main__":
    setup(
        # Whoever builds a package cannot say -j.
        options={"build_ext": {"parallel": os.cpu_count() or 1}},
        ext_modules=cythonize(
            extensions(),
            build_dir="build/cython",
            nthreads=os.cpu_count() or 1,
            compiler_directives={
                "language_level": 3,
                "boundscheck": False,
                "wraparound": False,
                "cdivision": True,
                "initializedcheck": False,
                "freethreading_compatible": True,
            },
        )
    )
