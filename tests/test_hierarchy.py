"""The tree: what it says about itself agrees for every tree, and what is wrong with a tree is said by name."""

import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precision.errors import PrecisionError, check_names, nearest

from precision.hierarchy import Hierarchy, build_hierarchy

THREE = {"tv": {"linear": ["brand", "drtv"], "ctv": ["prog"]}, "search": {"google": ["generic"]}}
SEED_EXAMPLE = {
    "channel_TV": {"platform_TV": ["tv_spot_a", "tv_spot_b"]},
    "channel_Search": {"platform_Search": ["search_brand", "search_generic"]},
}


@st.composite
def trees(draw, depth=None, ragged=True):
    "(tree, levels): 1 to 4 levels, names unique over the whole tree, some lists one or more levels early."
    depth = depth or draw(st.integers(1, 4))
    count = iter(range(10**6))

    def branch(left):
        width = draw(st.integers(1, 3))
        if left == 1 or (ragged and left < depth and draw(st.booleans())):
            return [f"leaf {next(count)}" for _ in range(width)]
        return {f"node {next(count)}": branch(left - 1) for _ in range(width)}

    return branch(depth), [f"level {k}" for k in range(depth)]


@settings(max_examples=60, deadline=None)
@given(trees())
def test_memberships_compose(tree_and_levels):
    h = build_hierarchy(*tree_and_levels)
    for i, low in enumerate(h.levels):
        assert np.array_equal(h.matrix(low, low), np.eye(h.size(low)))
        for j in range(i, len(h.levels)):
            M = h.matrix(low, h.levels[j])
            assert M.shape == (h.size(low), h.size(h.levels[j])) and (M.sum(axis=1) == 1).all() and (M.sum(axis=0) >= 1).all()
            assert np.array_equal(M.argmax(axis=1), h.parent_index(low, h.levels[j]))
            for middle in h.levels[i:j + 1]:
                assert np.array_equal(M, h.matrix(low, middle) @ h.matrix(middle, h.levels[j]))


@settings(max_examples=60, deadline=None)
@given(trees(), st.booleans())
def test_a_frame_and_back_is_the_same_tree(tree_and_levels, qualify):
    h = build_hierarchy(*tree_and_levels, qualify=qualify)
    again = Hierarchy.from_frame(h.to_frame())
    assert again == h and hash(again) == hash(h) and str(again) == str(h)
    for level in h.levels:
        assert np.array_equal(again.pass_through[level], h.pass_through[level])
        assert len(set(h.names[level])) == h.size(level) == len(h.pass_through[level])
    assert not h.pass_through[h.levels[0]].any() and not h.pass_through[h.levels[-1]].any()
    assert pickle.loads(pickle.dumps(h)) == h


@settings(max_examples=40, deadline=None)
@given(trees())
def test_an_empty_cell_is_filled_like_an_early_list(tree_and_levels):
    h = build_hierarchy(*tree_and_levels)
    frame = h.to_frame()
    holes = frame.mask(frame.apply(lambda column: column.str.contains("pass-through")))
    assert Hierarchy.from_frame(holes) == h


@settings(max_examples=40, deadline=None)
@given(trees())
def test_lookups_agree(tree_and_levels):
    h = build_hierarchy(*tree_and_levels)
    for level in h.levels:
        members = h.matrix(h.levels[0], level)
        for j, node in enumerate(h.names[level]):
            assert h.descendants(node, level) == [n for n, m in zip(h.leaves, members[:, j]) if m]
            assert h.members(node, level).dtype == bool and np.array_equal(h.members(node, level), members[:, j] == 1)
            assert h.path(node, level)[-1] == node
            assert str(h).count(f"{node}\n") + str(h).endswith(node) >= 1


def test_the_first_example():
    h = build_hierarchy(SEED_EXAMPLE, ["tactical", "platform", "channel"])
    assert (h.num_tacticals, h.num_platforms, h.num_channels) == (4, 2, 2)
    assert h.levels == ("tactical", "platform", "channel")
    assert h.names["tactical"] == ["tv_spot_a", "tv_spot_b", "search_brand", "search_generic"]
    assert h.matrix("tactical", "channel").tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert h.parent_index("tactical", "channel").tolist() == [0, 0, 1, 1]
    assert h == build_hierarchy(SEED_EXAMPLE)


def test_it_is_frozen_and_hands_out_copies():
    h = build_hierarchy(THREE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        h.levels = ()
    h.names["tactical"].append("x")
    h.pass_through["platform"][:] = True
    h.leaves.append("x")
    h.members("tv")[:] = False
    assert h.num_tacticals == len(h.leaves) == 4 and h.members("tv").any() and not h.pass_through["platform"].any() and len({h, build_hierarchy(THREE)}) == 1
    assert h != build_hierarchy({"search": THREE["search"], "tv": THREE["tv"]}), "order counts"


def test_one_level_is_a_list():
    for leaves in (["a", "b"], ("a", "b"), pd.Index(["a", "b"]), np.array(["a", "b"])):
        h = build_hierarchy(leaves, ["channel"])
        assert h.num_tacticals == h.num_channels == 2 and h.names == {"channel": ["a", "b"]}


def test_gaps_are_named_after_the_nearest_real_node_and_numbered_when_taken():
    h = build_hierarchy({"x": ["a"], "y": {"x": ["b"]}}, ["l0", "l1", "l2", "l3"])
    assert h.names["l1"] == ["x (pass-through)", "x (pass-through 2)"]
    assert h.names["l2"] == ["x (pass-through)", "x"]
    assert h.path("a") == ("x", "x (pass-through)", "x (pass-through)", "a")
    assert Hierarchy.from_frame(h.to_frame()) == h
    qualified = build_hierarchy({"x": ["a"], "y": {"x": ["a"]}}, ["l0", "l1", "l2", "l3"], qualify=True)
    assert qualified.names == {"l0": ["x/a", "y/x/a"], "l1": ["x (pass-through)", "y/x (pass-through)"],
                               "l2": ["x (pass-through)", "y/x"], "l3": ["x", "y"]}


def test_a_leaf_may_be_called_like_its_channel_when_a_gap_lies_between():
    h = build_hierarchy({"newsletter": ["newsletter"], "tv": {"linear": ["brand"]}})
    assert h.path("newsletter", "tactical") == ("newsletter", "newsletter (pass-through)", "newsletter")
    complains(lambda: h.path("newsletter"), "newsletter", "'tactical'", "'channel'", "level=")


def test_columns_of_a_frame_in_any_order_and_with_others():
    h = build_hierarchy(THREE)
    frame = h.to_frame()
    assert list(frame.columns) == ["channel", "platform", "tactical"]
    assert Hierarchy.from_frame(frame[["tactical", "channel", "platform"]]) == h
    assert Hierarchy.from_frame(frame.assign(spend=1.0), levels=["tactical", "platform", "channel"]) == h
    assert Hierarchy.from_frame(frame.astype("category")) == h


def test_children_that_do_not_stand_together():
    h = Hierarchy.from_frame(pd.DataFrame({"channel": ["tv", "search", "tv"], "tactical": ["a", "b", "c"]}))
    assert h.parent_index("tactical", "channel").tolist() == [0, 1, 0] and h.descendants("tv") == ["a", "c"]
    assert str(h).splitlines()[1:] == ["tv", "├── a", "└── c", "search", "└── b"]


def complains(attempt, *parts):
    "The attempt raises our error, and the message holds every part."
    with pytest.raises(PrecisionError) as caught:
        attempt()
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"


CYCLE = {"tv": {}}
CYCLE["tv"]["linear"] = CYCLE


@pytest.mark.parametrize(("tree", "levels", "parts"), [
    ({}, None, ["tree is empty", "at least one channel"]),
    ([], ["channel"], ["tree is empty"]),
    ({"tv": {}}, None, ["'tv' is empty", "platform"]),
    ({"tv": {"linear": []}}, None, ["'tv > linear' is empty", "tactical", "take it out"]),
    ({"tv": {"linear": ["a", "a"]}}, None, ["tv > linear > a", "twice", "Take one"]),
    ({"tv": {"linear": ["a"]}, "radio": {"spots": ["a"]}}, None, ["'a'", "tv > linear", "radio > spots", "qualify=True"]),
    ({"tv": {"google": ["a"]}, "search": {"google": ["b"]}}, None, ["platform 'google'", "'tv'", "'search'", "qualify=True"]),
    ({"tv": {"tv": ["a"]}}, None, ["'tv' is its own parent", "qualify=True"]),
    (CYCLE, None, ["'linear' is its own parent", "own dict"]),
    ({"tv": {"linear": [2024]}}, None, ["2024 (int)", "tv > linear", "'2024'"]),
    ({3: ["a"]}, None, ["3 (int)", "the tree"]),
    ({"tv": [None]}, None, ["None", "'tv'"]),
    ({"tv": [["a"]]}, None, ["list", "'tv'"]),
    ({"tv": {"linear": [" "]}}, None, ["blank", "tv > linear"]),
    ({"tv": {"linear": "brand"}}, None, ["'brand' (str)", "['brand']"]),
    ({"tv": {"linear": None}}, None, ["None", "tv > linear"]),
    ({"tv": {"linear": {"brand": ["30s"]}}}, None, ["tv > linear", "lowest level", "add a level"]),
    (["a", "b"], None, ["is a list", "3 levels", "levels=['tactical']"]),
    ({"tv": ["x (pass-through)"]}, None, ["x (pass-through)", "Rename"]),
    (THREE, [], ["levels is empty"]),
    (THREE, "channel", ["levels must be a list", "['channel']"]),
    (THREE, ["tactical", "platform", "platform"], ["'platform'", "more than once"]),
    (THREE, ["tactical", "platform", 3], ["3 (int)", "levels"]),
    (THREE, ["tactical", "platform", "time"], ["'time'", "Rename"]),
    (THREE, ["channel", "platform", "tactical"], ["bottom to the top", "'tactical', 'platform', 'channel'"]),
])
def test_bad_trees_are_refused_by_name(tree, levels, parts):
    complains(lambda: build_hierarchy(tree, **({} if levels is None else {"levels": levels})), *parts)


def test_qualify_cannot_save_a_leaf_given_twice_at_one_place():
    complains(lambda: build_hierarchy({"tv": {"linear": ["a", "a"]}}, qualify=True), "tv/linear/a", "twice")
    assert build_hierarchy({"tv": {"tv": ["a"]}}, qualify=True).names["platform"] == ["tv/tv"]


def test_bad_frames_are_refused_by_row_and_column():
    frame = build_hierarchy(THREE).to_frame()
    complains(lambda: Hierarchy.from_frame(frame.assign(channel=["tv", None, "tv", "search"])), "Row 1", "no channel")
    complains(lambda: Hierarchy.from_frame(frame.assign(tactical=["a", "b", 3, "d"])), "row 2", "'tactical'", "3 (int)")
    complains(lambda: Hierarchy.from_frame(frame, levels=["tactical", "chanel"]), "chanel", "columns of the frame")
    complains(lambda: Hierarchy.from_frame(frame.iloc[:0]), "empty")
    complains(lambda: Hierarchy.from_frame(THREE), "DataFrame", "dict")
    complains(lambda: Hierarchy.from_frame(pd.concat([frame, frame])), "twice", "tv > linear > brand")


def test_bad_questions_are_answered():
    h = build_hierarchy(THREE)
    complains(lambda: h.size("platfrom"), "'platfrom'", "Did you mean 'platform'?")
    complains(lambda: h.matrix("channel", "tactical"), "'channel' is above 'tactical'")
    complains(lambda: h.path("gogle"), "'gogle'", "Did you mean 'google'?")
    complains(lambda: h.descendants("google", "channel"), "'google'", "level 'channel'")
    complains(lambda: build_hierarchy(["a"], ["media"]).num_channels, "'channel'", "'media'")


def test_names_are_checked_all_at_once():
    complains(lambda: check_names(["tv_a", "tv_a", "tb_b"], ["tv_a", "tv_b", "radio"], "columns of U"),
              "columns of U", "'tv_a' is given more than once", "'tb_b' is not known", "Did you mean 'tv_b'?", "Missing: 'tv_b', 'radio'")
    check_names(["b", "a"], ["a", "b"], "columns")
    check_names([], ["a", "b"], "columns", complete=False)
    assert nearest("TV_A", ["tv_a"]) == " Did you mean 'tv_a'?" and nearest("zebra", ["tv_a"]) == ""


def test_it_draws_every_node():
    from matplotlib.figure import Figure

    for h in (build_hierarchy(THREE), build_hierarchy(["a"], ["channel"]), build_hierarchy({"x": ["a"], "y": {"z": ["b"]}})):
        ax = h.draw(Figure().add_subplot())
        drawn = {text.get_text() for text in ax.texts}
        assert {name for names in h.names.values() for name in names} <= drawn


@pytest.mark.parametrize("level", ["decay", "effect", "sigma", "past", "saturation_level", "hill_slope", "logistic_rate", "control_effect", "baseline_column", "a/b"])
def test_levels_cannot_be_called_like_results(level):
    with pytest.raises(PrecisionError, match="cannot be called"):
        build_hierarchy({"A": ["a"]}, levels=["tactical", level])
