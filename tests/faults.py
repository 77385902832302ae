"""Try faults at random, for a time or a number of trials, and report what came of them.

A kind of fault is a function that prepares its trials in a folder and returns them by name. A trial takes an
empty folder and a random generator, and returns its outcome, such as "refused". Whatever it raises is a finding.
The same seed gives the same trials.
"""

import argparse
import faulthandler
import itertools
import math
import os
import pickle
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

import numpy as np
import torch

PATIENCE = 60  # seconds after which a process is ended, because it hangs
INTERRUPTED = 130  # exit status after Ctrl-C before or after the work


class Finding(Exception):
    """What should not have happened, and the exit status of a process that crashed."""

    status = 0


# Trials


def make_parser(description):
    """Make the options that all kinds of faults have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=math.inf, help="maximum time; 60 if nothing is given")
    parser.add_argument("--count", type=float, default=math.inf, help="maximum number of trials")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def parse_options(parser, arguments):
    options = parser.parse_args(arguments)
    if options.seconds == options.count == math.inf:
        options.seconds = 60
    return options


def try_faults(prepare, *, seed=0, first=0, seconds=math.inf, count=math.inf):
    """Try faults; returns the number of each outcome by the name of the trial, and the texts of all findings."""
    outcomes, findings = defaultdict(Counter), []
    with tempfile.TemporaryDirectory() as folder:
        trials, place = prepare(Path(folder)), Path(folder, "trial")
        start = time.perf_counter()
        for number in itertools.count(first):
            if number - first >= count or time.perf_counter() - start >= seconds:
                return outcomes, findings
            name = list(trials)[number % len(trials)]
            place.mkdir()
            try:
                outcome = trials[name](place, Random(f"{seed} {number}"))
            except Exception:
                outcome = "finding"
                findings.append(f"{name}, --first {number} --count 1\n{traceback.format_exc()}")
            outcomes[name][outcome] += 1
            shutil.rmtree(place)


def main(prepare, description, arguments=None):
    """Run the command line of a kind of fault; returns the exit status."""
    parser = make_parser(description)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    options = parse_options(parser, arguments)
    torch.set_num_threads(1)
    start = time.perf_counter()
    outcomes, findings = try_faults(prepare, **vars(options))
    columns = sorted(set().union(*outcomes.values()))
    print(f"| | inputs | {' | '.join(columns)} |\n|---|---{'|---' * len(columns)}|")
    for name, counts in outcomes.items():
        print(f"| {name} | {sum(counts.values())} | {' | '.join(str(counts[column]) for column in columns)} |")
    n_trials = sum(sum(counts.values()) for counts in outcomes.values())
    print_figures(n_trials, findings, time.perf_counter() - start, options.seed)
    print("\n\n".join(findings[:20]))
    return 1 if findings else 0


def print_figures(n_trials, findings, seconds, seed):
    print(f"\n{n_trials} inputs, {len(findings)} findings, {seconds:.1f} s, seed {seed}")


# Processes


class Process:
    """Calls a function in a fork of this process, which need not import anything anew.

    Its files for decoded sound are in a folder of the function's own: its first argument.
    """

    def __init__(self, function, folder, *arguments):
        self.answer = tempfile.TemporaryFile()  # noqa: SIM115  # open in both processes
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until the child is ready for it
        self.pid = os.fork()
        if self.pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            return
        try:
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
                faulthandler.dump_traceback_later(PATIENCE, exit=True, file=self.answer)
                tempfile.tempdir = os.fspath(folder / "temporary")
                os.environ["SKLEARN_CPC_RAM_GB"] = "1e-9"  # all decoded sound is on disk
                os.makedirs(tempfile.tempdir, exist_ok=True)
                answer = True, function(folder, *arguments)
            except BaseException:
                answer = False, traceback.format_exc()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            pickle.dump(answer, self.answer)
            self.answer.flush()
            os._exit(0)
        finally:
            os._exit(INTERRUPTED)

    def end(self):
        """Wait; returns whether the function succeeded, and its result or error. None if it was killed."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        with self.answer:
            self.answer.seek(0)
            if status == 0:
                return pickle.load(self.answer)
            if status in (INTERRUPTED, -signal.SIGKILL, -signal.SIGTERM):
                return None
            finding = Finding(f"a process ended with status {status}\n{self.answer.read().decode()}")
            finding.status = status
            raise finding

    def result(self):
        """Wait for the result of a function that has to succeed."""
        succeeded, result = self.end() or (False, "killed")
        if not succeeded:
            raise Finding(result)
        return result


# What is compared


def check_same(found, expected, where="results"):
    """Raise a Finding unless arrays, in lists and dicts, are equal bit for bit."""
    if isinstance(expected, dict):
        if found.keys() != expected.keys():
            raise Finding(f"{where} have {list(found)}, not {list(expected)}")
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, (list, tuple)):
        if len(found) != len(expected):
            raise Finding(f"{where} are {len(found)}, not {len(expected)}")
        for one, other in zip(found, expected, strict=True):
            check_same(one, other, where)
        return
    one, other = np.asarray(found), np.asarray(expected)
    if one.dtype != other.dtype or one.shape != other.shape or one.tobytes() != other.tobytes():
        raise Finding(f"other {where}: {found!r} is not {expected!r}")


def leftovers(folder):
    """Names of locks, of unfinished files and of what is in the temporary folder."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if ".sklearn_cpc-" in path.name or path.suffix == ".lock" or path.parent.name == "temporary"
    )


def check_clean(folder):
    """Raise a Finding if files are left in a folder."""
    if left := leftovers(folder):
        raise Finding(f"files are left: {left}")
