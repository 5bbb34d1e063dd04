"""Try all defects, or some, and print a table of what caught each."""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

from teeth.defects import DEFECTS
from teeth.trial import Copy, Defect, Trial, Verdict, try_defect

AT_ONCE = 2
BASELINE_LIMIT = 300.0


def main(words: list[str]) -> int:
    """0 if every defect was caught; words choose some of them."""
    defects = [d for d in DEFECTS if not words or any(word in d.name for word in words)]
    began = monotonic()
    with tempfile.TemporaryDirectory(prefix="teeth-") as name:
        folder = Path(name)
        if not pass_unchanged(defects, folder / "unchanged"):
            return 2
        with ThreadPoolExecutor(AT_ONCE) as pool:
            trials = list(pool.map(lambda defect: tried(defect, folder), defects))
    survivors = [d for d, t in zip(defects, trials, strict=True) if t.verdict is not Verdict.CAUGHT]
    print(table(defects, trials))
    print(
        f"\n{len(defects) - len(survivors)} of {len(defects)} defects caught in "
        f"{monotonic() - began:.0f} s."
    )
    return 1 if survivors else 0


def pass_unchanged(defects: list[Defect], folder: Path) -> bool:
    """Whether the tests of all defects pass where there is none, and are not skipped."""
    tests = sorted({test for defect in defects for test in defect.tests})
    trial = Copy(folder).run(tests, limit=BASELINE_LIMIT, processes=AT_ONCE)
    skipped = " skipped" in trial.output.splitlines()[-1]
    if trial.verdict is Verdict.SURVIVED and not skipped:
        say(f"{len(tests)} tests pass on the unchanged source ({trial.seconds:.0f} s)")
        return True
    say(trial.output)
    say("The tests do not pass on the unchanged source: what they catch would mean nothing.")
    return False


def tried(defect: Defect, folder: Path) -> Trial:
    trial = try_defect(defect, folder / str(DEFECTS.index(defect)))
    say(f"{trial.verdict:10} {trial.seconds:5.1f} s  {defect.name}")
    if trial.verdict is not Verdict.CAUGHT:
        say(trial.output)
    return trial


def table(defects: list[Defect], trials: list[Trial]) -> str:
    """The results in Markdown."""
    lines = ["| defect | breaks | caught by | seconds |", "|---|---|---|---:|"]
    for defect, trial in zip(defects, trials, strict=True):
        by = f"`{trial.caught_by}`" if trial.verdict is Verdict.CAUGHT else f"**{trial.verdict}**"
        lines.append(f"| {defect.name} | {defect.promise} | {by} | {trial.seconds:.1f} |")
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
