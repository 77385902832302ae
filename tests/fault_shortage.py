"""Work while the machine is short of something, work again without, and compare the results.

    python tests/fault_shortage.py --seconds 60 --seed 0

The work is that of fault_kills.py. Its process may open few files, allocate little memory, write only small files,
or write to no folder. It must end with the same results, or stop with an error of the system. Other results, an
error that blames a recording, a crash and a hang are findings, but not where libraries lack memory. The next
process must do the work and remove all that the first one has left.
"""

import functools
import os
import resource
import signal
import sys
import traceback
import warnings
from pathlib import Path

from fault_kills import make_work, measured
from faults import Finding, Process, check_clean, check_same, main
from fuzz_audio import memory

from sklearn_cpc.audio.reading import UnreadableAudioError

NOBODY = 65534
WORDS = "memory", "alloc", "thread", "create a primitive"  # in errors of torch and of the interpreter


def few_files(random, folder):
    n_open = len(os.listdir("/proc/self/fd"))
    return limit(resource.RLIMIT_NOFILE, n_open + random.randrange(-2, 10))


def little_memory(random, folder):
    return limit(resource.RLIMIT_AS, memory("VmSize") + int(2 ** random.uniform(10, 28)))


def small_files(random, folder):
    return limit(resource.RLIMIT_FSIZE, int(2 ** random.uniform(0, 18)))


def limit(name, value):
    """Lower a limit of the process; returns a function that raises it again."""
    soft, hard = resource.getrlimit(name)
    resource.setrlimit(name, (value, hard))
    return functools.partial(resource.setrlimit, name, (soft, hard))


def read_only_folder(random, folder):
    chosen = random.choice([folder, folder / "temporary"])
    chosen.chmod(0o555)
    return functools.partial(chosen.chmod, 0o755)


SHORTAGES = few_files, little_memory, small_files, read_only_folder


def prepare(folder):
    trials, work = {}, make_work(folder)
    folder.chmod(0o755)
    expected = {name: measured(function, folder)[2] for name, function in work.items()}
    for shift in range(len(SHORTAGES)):  # so that a few trials are of all kinds of work and of shortage
        for number, name in enumerate(work):
            shortage = SHORTAGES[(number + shift) % len(SHORTAGES)]
            trial = functools.partial(starve, shortage, work[name], expected[name])
            trials[f"{shortage.__name__.replace('_', ' ')}, {name}"] = trial
    return trials


def starve(shortage, work, expected, folder, random):
    """Do work in a shortage, and again without."""
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    try:
        outcome, result = Process(work_in_shortage, folder, shortage, work, random).result()
    except Finding as finding:
        lacks_memory = shortage is little_memory
        if lacks_memory and finding.status in (-signal.SIGSEGV, -signal.SIGABRT):
            outcome = "crashed"  # libraries in C may need memory that they do not get
        elif lacks_memory and "threading.py" in str(finding) and " in start" in str(finding):
            outcome = "Python hangs"  # a thread that lacks memory to begin never tells the one that waits for it
        else:
            raise
    if outcome == "equal":
        check_same(result, expected)
    check_same(Process(as_nobody, folder, work).result(), expected)
    check_clean(folder)
    return outcome


def as_nobody(folder, work):
    """Work without the rights of the superuser."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    return work(folder)


def work_in_shortage(folder, shortage, work, random):
    """Return "equal" and the result of work, or "stopped" if an error of the system stopped it."""
    warnings.simplefilter("ignore")  # of samples that cannot be stored
    if os.geteuid() == 0:
        os.chown(Path(folder, "temporary"), NOBODY, NOBODY)
        os.seteuid(NOBODY)
    end = shortage(random, folder)
    try:
        return "equal", work(folder)
    except Exception as error:
        end()
        chain = [error]
        while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
            chain.append(cause)
        if any(isinstance(one, UnreadableAudioError) for one in chain):
            raise Finding(traceback.format_exc()) from error
        if not any(isinstance(one, OSError | MemoryError) or any(map(str(one).count, WORDS)) for one in chain):
            raise Finding(traceback.format_exc()) from error
        return "stopped", None
    finally:
        end()


if __name__ == "__main__":
    sys.exit(main(prepare, __doc__))
