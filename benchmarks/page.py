"""Results of a run as tables, a figure and a page of the guide."""

import matplotlib.pyplot as plt

INTRODUCTION = """\
# Speed and memory

`make bench` measured these figures on {processor}, with {threads} thread(s) and torch {torch}.
Training uses {precision} unless a table says otherwise. Every `make bench` rewrites this page and its figure from
`benchmarks/results/latest.json`.

Machines differ, and a busy machine is slower and noisier. So look at the ratios. All competitors run in turns in
one process, and the best of several rounds counts.

## Beside other programs

The threads that torch computes on wait for each other many times in every step. By default they spin while they
wait. If other programs use the processor, a training is then 10 to 30 times slower. The package therefore lets
them sleep soon, if you import it before torch and have not set `GOMP_SPINCOUNT`, `OMP_WAIT_POLICY` or
`KMP_BLOCKTIME` yourself. If you import torch first, set `GOMP_SPINCOUNT=1000` in the environment.
"""


def as_page(results, titles, about, figure):
    """Write a page of the guide.

    Parameters
    ----------
    results : dict of {str: list of dict}
        Rows of each part, and a description of the machine under "machine".
    titles, about : dict of {str: str}
        Headings and descriptions of the parts.
    figure : str or None
        Path of the figure of the archives, relative to the page.
    """
    sections = [INTRODUCTION.format(**results["machine"])]
    for part in titles:
        if part in results:
            sections += [f"## {titles[part]}\n", f"{about[part]}\n", f"{as_table(results[part])}\n"]
            if part == "archive" and figure:
                sections.append(f"![Time and peak memory against hours of sound]({figure})\n")
    return "\n".join(sections)


def as_table(rows):
    """Format rows as a Markdown table."""
    lines = [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(as_text, row.values()))} |" for row in rows)])


def as_text(value):
    """Format a number with three significant digits, but keep all integer digits; None is empty."""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def draw_archives(rows, path):
    """Draw time and peak memory against the hours of sound."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for method in dict.fromkeys(row["method"] for row in rows):
        chosen = [row for row in rows if row["method"] == method]
        hours = [row["hours of sound"] for row in chosen]
        left.plot(hours, [row["time (s)"] for row in chosen], "o-", label=method)
        right.plot(hours, [row["peak memory (MB)"] / 1000 for row in chosen], "o-", label=method)
    left.set(ylabel="time (s)")
    right.set(ylabel="peak memory (GB)")
    for axes in (left, right):
        axes.set(xlabel="sound (hours)", xticks=hours, ylim=(0, None))
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
