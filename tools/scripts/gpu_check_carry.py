"""Gathers the programs and their libraries on a machine without a GPU, for a machine where nothing can be installed."""
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# The programs run on any x86-64 processor of the last ten years with an H100 or H200.
FLAGS = ["-DCMAKE_BUILD_TYPE=Release", "-DHR_CUDA=ON", "-DHR_NATIVE=OFF", "-DCMAKE_CXX_FLAGS=-march=x86-64-v3",
         "-DCMAKE_CUDA_ARCHITECTURES=90", "-DHR_GLOO=OFF", "-DHR_WERROR=OFF", "-DHR_TESTS=ON"]
TARGETS = ["hr_gpu_tests", "bench", "train", "synth", "validate", "predict", "forward"]
OPTIONAL = ["cupti_trace"]  # a library that is built where CUPTI is found
# Every machine with a C++ compiler has these libraries, at least as new as ours.
LEFT_THERE = re.compile(r"^(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|anl|nsl|stdc\+\+|gcc_s))\.so")
MOST_BYTES = 40 << 20


def add_arguments(parser):
    parser.add_argument("target", metavar="DIR|FILE.tar.xz", help="folder or archive to write, inside the tree that is copied to the other machine")
    parser.add_argument("--build", default=os.path.join(TREE, "build-carry"), metavar="DIR", help="build folder [build-carry]")
    parser.add_argument("--no-build", action="store_true", help="take the programs of the build folder as they are")
    parser.add_argument("--oracle", metavar="DIR", help="golden data, of which the files that the GPU's tests read are taken along")
    parser.add_argument("--jobs", default=str(os.cpu_count() or 1), metavar="N", help="parallel compilers [every core]")


# The files of the golden data that the tests labelled gpu read.
ORACLE = ["train/train.json", "train/main_batch.safetensors", "weights/w8.safetensors"]


def git_commit(tree):
    """Returns the short name of the commit, with "+" if the working tree differs, or None without git."""
    try:
        git = lambda *words: subprocess.run(["git", "-C", tree, *words], capture_output=True, text=True, check=True).stdout.strip()
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def needed_libraries(path):
    """Returns {name: file} of the shared libraries that ldd finds for a program, without those that every machine has,
    and the names of the libraries that it does not find."""
    text = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
    missing = re.findall(r"^\s*(\S+) => not found", text, re.M)
    found = dict(re.findall(r"^\s*(\S+) => (/\S+)", text, re.M))
    return {name: file for name, file in found.items() if not LEFT_THERE.match(name)}, missing


def strip_copy(source, target):
    shutil.copyfile(os.path.realpath(source), target)
    os.chmod(target, 0o755)
    if shutil.which("strip"):
        subprocess.run(["strip", "--strip-unneeded", target], stderr=subprocess.DEVNULL)


def gather(build, folder):
    """Fills folder/bin and folder/lib. Returns the names of programs that were not built."""
    os.makedirs(os.path.join(folder, "bin"))
    os.makedirs(os.path.join(folder, "lib"))
    missing, libraries = [], {}
    for name in TARGETS:
        source = os.path.join(build, "tests" if name.endswith("_tests") else "tools", name)
        if not os.path.exists(source):
            missing.append(name)
            continue
        libraries.update(needed_libraries(source)[0])
        strip_copy(source, os.path.join(folder, "bin", name))
    for name, file in sorted(libraries.items()):
        strip_copy(file, os.path.join(folder, "lib", name))
    trace = os.path.join(build, "tools", "libcupti_trace.so")
    if os.path.exists(trace):
        strip_copy(trace, os.path.join(folder, "lib", "libcupti_trace.so"))
    else:
        missing.append("libcupti_trace.so")
    with open(os.path.join(folder, "HR_COMMIT"), "w") as f:
        f.write((os.environ.get("HR_COMMIT") or git_commit(TREE) or "unknown") + "\n")
    return missing


def size_of(folder):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)


def carry(options):
    if not options.no_build:
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        configure = ["cmake", "-S", TREE, "-B", options.build, *generator, *FLAGS]
        build = ["cmake", "--build", options.build, "-j", options.jobs, "--target", *TARGETS]
        if subprocess.run(configure, stdout=subprocess.DEVNULL).returncode or subprocess.run(build).returncode:
            print(f"gpu_check: {options.build} could not be built; see above", file=sys.stderr)
            return 1
        subprocess.run(["cmake", "--build", options.build, "--target", *OPTIONAL])
    packed = options.target.endswith(".tar.xz")
    with tempfile.TemporaryDirectory() as scratch:
        folder = os.path.join(scratch, "programs")
        missing = gather(options.build, folder)
        if "bench" in missing or "hr_gpu_tests" in missing:
            print(f"gpu_check: {options.build} has no {' and no '.join(missing)}", file=sys.stderr)
            return 1
        for name in ORACLE if options.oracle else []:
            os.makedirs(os.path.dirname(os.path.join(folder, "oracle", name)), exist_ok=True)
            shutil.copyfile(os.path.join(options.oracle, name), os.path.join(folder, "oracle", name))
        target = os.path.abspath(options.target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if packed:
            with tarfile.open(target + ".new", "w:xz", preset=6) as tar:
                tar.add(folder, arcname="programs")
            os.replace(target + ".new", target)
            size = os.path.getsize(target)
        else:
            if os.path.isdir(target):
                if not os.path.exists(os.path.join(target, "HR_COMMIT")) and os.listdir(target):
                    print(f"gpu_check: {target} is not empty and was not written by `carry`; name another folder", file=sys.stderr)
                    return 1
                shutil.rmtree(target)
            shutil.copytree(folder, target)
            size = size_of(target)
        unpacked = size_of(folder)
    print(f"gpu_check: {options.target}: {size / (1 << 20):.1f} MiB ({unpacked / (1 << 20):.1f} MiB unpacked)" +
          (f"; without {', '.join(missing)}" if missing else ""))
    if size > MOST_BYTES:
        print(f"gpu_check: {options.target} has more than {MOST_BYTES >> 20} MiB; name a FILE.tar.xz to pack it", file=sys.stderr)
        return 1
    return 0


def unpack(path, folder):
    """Returns the folder of the programs at path. If they are packed, they are unpacked into `folder`."""
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return path
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with tarfile.open(path) as tar:
        tar.extractall(folder)
    return os.path.join(folder, "programs")
