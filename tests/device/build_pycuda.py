"""Makes a Python that has the real pycuda, on a machine without a GPU; prints its interpreter.

`python tests/device/build_pycuda.py FOLDER` needs CUDA's headers, gcc and g++ and Python's headers,
and takes nearly three minutes of a CPU. pycuda is linked against a libcuda.so.1 that is made of
stub_libcuda.c and the names in CUDA's headers, and left in FOLDER/stub. A second call only
makes the stub anew.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

VERSION = "2026.1"
HEADERS = ("cuda.h", "cudaProfiler.h")


def main(folder: Path) -> None:
    done, python, stub = folder / f"pycuda-{VERSION}.done", folder / "bin/python", folder / "stub"
    root = cuda_root()
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    stub.mkdir(exist_ok=True)
    build_stub(root / "include", stub)
    if not done.exists():
        with tempfile.TemporaryDirectory() as work:
            build_pycuda(python, root, stub, Path(work))
        done.touch()
    sys.stdout.write(f"{python}\n")


def cuda_root() -> Path:
    """The toolkit: CUDA_ROOT, the one that nvcc belongs to, or the usual place."""
    nvcc = shutil.which("nvcc")
    candidates = [
        *([Path(os.environ["CUDA_ROOT"])] if "CUDA_ROOT" in os.environ else []),
        *([Path(nvcc).resolve().parent.parent] if nvcc else []),
        Path("/usr/local/cuda"),
        *sorted(Path("/usr/local").glob("cuda-*"), reverse=True),
    ]
    for candidate in candidates:
        if (candidate / "include" / "cuda.h").is_file():
            return candidate
    sys.exit(f"cuda.h is in none of {', '.join(map(str, candidates))}; CUDA_ROOT names the toolkit")


def build_stub(include: Path, folder: Path) -> None:
    """A libcuda.so.1 of stub_libcuda.c, with every other name of the driver API: those refuse."""
    code = Path(__file__).with_name("stub_libcuda.c").read_text()
    headers = [(include / name).read_text(errors="replace") for name in HEADERS]
    names = set(re.findall(r"\bcu[A-Z]\w*", "".join(headers)))
    written = set(re.findall(r"^CUresult (cu[A-Z]\w*)", code, re.MULTILINE))
    rest = "".join(f"int {name}(void) {{ return absent(); }}\n" for name in sorted(names - written))
    source, library = folder / "libcuda.c", folder / "libcuda.so.1"
    source.write_text(code + rest)
    options = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["gcc", *options, source, "-o", library], check=True)
    (folder / "libcuda.so").unlink(missing_ok=True)
    (folder / "libcuda.so").symlink_to(library.name)


def build_pycuda(python: Path, root: Path, stub: Path, work: Path) -> None:
    """Install pycuda into the venv of `python`, unoptimised: it is never run fast."""
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = ["--no-deps", "--no-binary", "pycuda", f"pycuda=={VERSION}"]
    subprocess.run([*pip, "download", *source, "--dest", work], check=True)
    with tarfile.open(next(work.glob("pycuda-*.tar.gz"))) as packed:
        packed.extractall(work, filter="data")
    tree = work / f"pycuda-{VERSION}"
    options = ["--no-cuda-enable-curand", f"--cuda-root={root}", f"--cudadrv-lib-dir={stub}"]
    subprocess.run([python, "configure.py", *options], cwd=tree, check=True, stdout=sys.stderr)
    flags = {"CFLAGS": f"-O0 -g0 -w -I{sysconfig.get_path('include')}"}
    subprocess.run([*pip, "install", tree], check=True, env={**os.environ, **flags})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).absolute())
