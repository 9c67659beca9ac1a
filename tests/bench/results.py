"""The numbers of a run, and what went wrong in it."""
from dataclasses import dataclass, field
import statistics


@dataclass
class Series:
    """What one contender reached with one work on one subject, one value for each round."""
    subject: str
    work: str
    contender: str
    unit: str
    more_is_better: bool
    values: list = field(default_factory=list)

    @property
    def best(self):
        return max(self.values) if self.more_is_better else min(self.values)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def spread(self):
        """From the worst to the best, as a part of the median."""
        return (max(self.values) - min(self.values)) / self.median

    def ratio_to(self, other, statistic):
        """How many times better than the other; statistic is "best" or "median"."""
        mine, theirs = getattr(self, statistic), getattr(other, statistic)
        return mine / theirs if self.more_is_better else theirs / mine


@dataclass
class Results:
    series: dict = field(default_factory=dict)    # (subject, work, contender) -> Series
    failures: list = field(default_factory=list)  # (subject, work or None, contender, reason)
    partial: bool = False                         # only what the user asked for
    about: dict = field(default_factory=dict)     # the machine, versions, options

    titles: dict = field(default_factory=dict)    # subject -> what it is
    notes: dict = field(default_factory=dict)     # subject -> what a reader must know

    def add(self, subject, work, contender, values):
        """Takes the numbers of one round, one for each part of the work."""
        for part, value in zip(work.parts, values):
            key = (subject.name, work.name + part, contender.name)
            if key not in self.series:
                self.series[key] = Series(*key, work.unit, work.more_is_better)
            self.series[key].values.append(value)

    def fail(self, subject, work, contender, reason):
        self.failures.append((subject, work, contender, reason))

    def find(self, subject, work, contender):
        return self.series.get((subject, work, contender))

    def rows(self):
        """@return [(subject, work)] in the order in which they were measured first"""
        return list(dict.fromkeys((subject, work) for subject, work, _ in self.series))

    def of(self, subject, work):
        """@return the Series of one row, by contender"""
        return {key[2]: series for key, series in self.series.items() if key[:2] == (subject, work)}
