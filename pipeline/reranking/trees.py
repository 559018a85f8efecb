"""Gradient-boosted decision trees over rows of features, fitted by scikit-learn and kept as plain arrays.

scikit-learn can only pickle what it has fitted, and a pickle runs code when it is read; skops reads no pickles, but
every prediction would import scikit-learn, which takes longer than the prediction. Only fitting imports it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.store import Integers, Reals

ROUNDS = 300  # trees
LEARNING_RATE = 0.05
LEAVES = 16
FEWEST_ROWS = 10  # in a leaf
BINNED_ROWS = 200_000  # from which scikit-learn takes the quantiles of a column; of more it draws some by their weights


@dataclass(frozen=True, eq=False)
class Trees:
    """The log odds that a row is right: `start` plus a leaf's value from every tree.

    Node n sends rows whose column `columns[n]` is at most `thresholds[n]` to node `left[n]`, others to `right[n]`; a
    leaf sends them to itself. Nodes of all trees stand one behind the other, `roots` says where each tree starts.
    """

    start: float
    roots: Integers
    columns: Integers
    thresholds: Reals
    left: Integers
    right: Integers
    values: Reals  # of the leaves; 0 elsewhere

    @classmethod
    def fit(cls, rows: Reals, right: Reals, wrong: Reals, seed: int) -> "Trees":
        """Boost the log loss of rows float64 [n, columns].

        right, wrong: how often each row was the one or the other, float64 [n]. Raises ValueError where no row was right
        or none was wrong.

        Source: Friedman 2001, "Greedy function approximation: a gradient boosting machine".
        """
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits

        if not right.any() or not wrong.any():
            raise ValueError("trees are fitted to rows some of which were right and some wrong")
        both = np.concatenate([np.flatnonzero(right > 0), np.flatnonzero(wrong > 0)])
        is_right = np.arange(len(both)) < np.count_nonzero(right > 0)
        fitted = HistGradientBoostingClassifier(
            learning_rate=LEARNING_RATE,
            max_iter=ROUNDS,
            max_leaf_nodes=LEAVES,
            min_samples_leaf=FEWEST_ROWS,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        )
        weights = np.where(is_right, right[both], wrong[both])
        # With weights scikit-learn sorts a column anew for each of its quantiles. Equal ones change nothing but that.
        weightless = len(both) <= BINNED_ROWS and (weights == 1).all()
        with threadpool_limits(limits=1, user_api="openmp"):  # several wait for each other on a busy machine
            fitted.fit(rows[both], is_right, sample_weight=None if weightless else weights)
        nodes = [tree.nodes for (tree,) in fitted._predictors]
        roots = np.cumsum([0, *map(len, nodes)])[:-1]
        base = np.repeat(roots, [len(some) for some in nodes])
        all_ = np.concatenate(nodes)
        leaf = all_["is_leaf"].astype(bool)
        itself = np.arange(len(all_))
        return cls(
            start=float(fitted._baseline_prediction[0, 0]),
            roots=roots.astype(np.int64),
            columns=all_["feature_idx"].astype(np.int64),
            thresholds=all_["num_threshold"].astype(np.float64),
            left=np.where(leaf, itself, base + all_["left"]),
            right=np.where(leaf, itself, base + all_["right"]),
            values=np.where(leaf, all_["value"], 0.0),
        )

    def __call__(self, rows: Reals) -> Reals:
        """Log odds of rows float64 [n, columns], float64 [n]."""
        log_odds = np.full(len(rows), self.start)
        for root in self.roots.tolist():
            node, here = np.full(len(rows), root), np.arange(len(rows))
            while len(here):
                inner = node[here]
                low = rows[here, self.columns[inner]] <= self.thresholds[inner]
                node[here] = np.where(low, self.left[inner], self.right[inner])
                here = here[self.left[node[here]] != node[here]]
            log_odds += self.values[node]
        return log_odds

    @classmethod
    def of_content(cls, content: Mapping[str, Any], columns: int) -> "Trees":
        """Make trees of the lists in a JSON file, for rows of so many columns; raises ValueError for any others."""
        kinds = {"thresholds": np.float64, "values": np.float64}  # all others are integers
        arrays: dict[str, Any] = {name: np.array(value, kinds.get(name, np.int64)) for name, value in content.items()}
        trees = cls(**arrays | {"start": float(content["start"])})
        nodes, itself = len(trees.columns), np.arange(len(trees.columns))
        sizes = {len(part) for part in (trees.thresholds, trees.left, trees.right, trees.values)}
        leaf = (trees.left == itself) & (trees.right == itself)
        onward = (trees.left > itself) & (trees.right > itself) & (trees.left < nodes) & (trees.right < nodes)
        inside = (trees.columns >= 0) & (trees.columns < columns)
        if sizes != {nodes} or not (inside & (leaf | onward)).all():
            raise ValueError("its trees do not hang together")
        if not ((trees.roots >= 0) & (trees.roots < nodes)).all():
            raise ValueError("its trees have no roots")
        return trees
