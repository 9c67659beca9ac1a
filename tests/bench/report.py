"""The table for people and results.json for programs."""
import json

import targets

REFERENCE = "peelfs"


def number(value):
    if value >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def table(results):
    """@return the lines of the table"""
    lines = []
    headed = set()
    for subject, work in results.rows():
        row = results.of(subject, work)
        ours = row.get(REFERENCE)
        unit = next(iter(row.values())).unit
        if subject not in headed:
            headed.add(subject)
            lines += ["", f"== {subject}: {results.titles[subject]} =="]
            lines += [results.notes[subject]] if results.notes[subject] else []
        lines += ["", f"{subject} · {work} ({unit})",
                  f"  {'':22} {'best':>9} {'median':>9} {'spread':>7}   "
                  f"{'peelfs is, times as good':<24} target"]
        for name, series in row.items():
            text = (f"  {name:22} {number(series.best):>9} {number(series.median):>9} "
                    f"{series.spread:>7.0%}")
            if ours is not None and series is not ours:
                best, median = (ours.ratio_to(series, what) for what in ("best", "median"))
                text += f"   {f'best {best:.2f}  median {median:.2f}':<24}"
                for target in targets.ALL:
                    ratios = target.ratios(results, REFERENCE)
                    if target.concerns(subject, work, name) and ratios:
                        which = "" if target.peer == name else " to the slowest"
                        text += f" {target.at_least:g}{which}: {target.verdict(*ratios)}"
            lines.append(text)
    return lines


def target_lines(results):
    """@return a line for each target: what it is, and whether it was reached; of a part of the works
    (--only) only those that were measured"""
    lines = []
    for target in targets.ALL:
        ratios = target.ratios(results, REFERENCE)
        if ratios is None and results.partial:
            continue
        what = f"{target.subject} · {target.work} against {target.peer.replace('|', ' or ')}"
        verdict = "not measured" if ratios is None else (
            f"best {ratios[0]:<6.2f} median {ratios[1]:<6.2f} {target.verdict(*ratios)}")
        lines.append(f"  {what:68} {target.at_least:>5g}  {verdict}")
    return lines


def failure_lines(results):
    return [f"  {contender}" + (f" on {subject}" if subject else "") + (f", {work}" if work else "")
            + f": {reason}" for subject, work, contender, reason in results.failures]


def text(results):
    lines = [f"{key}: {value}" for key, value in results.about.items()]
    lines += table(results)
    lines += ["", "Targets (times as good as the peer, at least)", *target_lines(results)]
    if results.failures:
        lines += ["", "Not measured, and why", *failure_lines(results)]
    return "\n".join(lines) + "\n"


def as_json(results):
    rows = []
    for series in results.series.values():
        row = {"subject": series.subject, "work": series.work, "contender": series.contender,
               "unit": series.unit, "more_is_better": series.more_is_better, "rounds": series.values,
               "best": series.best, "median": series.median, "spread": series.spread}
        ours = results.find(series.subject, series.work, REFERENCE)
        if ours is not None and ours is not series:
            row["peelfs_ratio"] = {what: ours.ratio_to(series, what) for what in ("best", "median")}
        rows.append(row)
    goals = []
    for target in targets.ALL:
        ratios = target.ratios(results, REFERENCE)
        goals.append({"subject": target.subject, "work": target.work,
                      "peers": target.peer.split("|"), "at_least": target.at_least,
                      "best": ratios and ratios[0], "median": ratios and ratios[1],
                      "reached": ratios and target.verdict(*ratios) == "yes"})
    failures = [dict(zip(("subject", "work", "contender", "reason"), failure))
                for failure in results.failures]
    return json.dumps({"about": results.about, "results": rows, "targets": goals,
                       "failures": failures}, indent=1) + "\n"
