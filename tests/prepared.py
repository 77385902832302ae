"""Processes that import once: pieces of code run in children of one process, each as if nothing had run before."""

import contextlib
import json
import os
import subprocess
import sys
from typing import NamedTuple

IMPORT = """
import gc, sys
gc.disable()  # during the imports, a sixth of whose time it takes
{}
gc.freeze()
gc.enable()
"""
SERVE = """
import json, os, signal
for line in sys.stdin:
    code, sys.argv[1:], folder, files = json.loads(line)
    if not (child := os.fork()):
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    os._exit(0)
signal.alarm(900)  # seconds
os.chdir(folder)
for number, path in enumerate(files, 1):
    os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
exec(code)
"""


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def prepare(code, **environment):
    """Run code in a new process; yields a function that runs more code after it, in a child of that process.

    The function takes the code, the child's folder, and its arguments. Systems without children that begin as a
    copy of their parent run all code anew.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    if not hasattr(os, "fork"):
        how = {"env": environment, "capture_output": True, "text": True, "timeout": 900}

        def run_anew(more, folder, *arguments):
            command = [sys.executable, "-c", IMPORT.format(code) + more, *map(str, arguments)]
            ended = subprocess.run(command, cwd=folder, check=False, **how)
            return Ended(ended.returncode, ended.stdout, ended.stderr)

        yield run_anew
        return
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", IMPORT.format(code) + SERVE]
    with subprocess.Popen(command, env=environment, **pipes) as process:

        def run(code, folder, *arguments):
            files = [str(folder / name) for name in ("stdout", "stderr")]
            request = json.dumps([code, list(map(str, arguments)), str(folder), files])
            process.stdin.write(request + "\n")
            process.stdin.flush()
            returncode = int(process.stdout.readline())
            texts = []
            for name in files:
                with open(name, encoding="utf-8") as file:
                    texts.append(file.read())
            return Ended(returncode, *texts)

        yield run
