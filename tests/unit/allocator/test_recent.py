"""The cache of what was used last."""

from gpupool.allocator.recent import Recent


def test_what_is_kept_is_not_made_again():
    kept, made = Recent(2), []

    def make():
        made.append("a")
        return "a"

    assert kept.get("a", make) == "a"
    assert kept.get("a", make) == "a"
    assert made == ["a"]


def test_so_many_are_kept_and_the_one_that_was_not_used_for_longest_goes():
    kept = Recent(3)
    for key in "abc":
        kept.get(key, lambda key=key: key)
    kept.get("a", lambda: "made again")
    kept.get("d", lambda: "d")
    found = {key: kept.get(key, lambda: "made again") for key in "acd"}
    assert found == {key: key for key in "acd"}
    assert kept.get("b", lambda: "made again") == "made again"


def test_a_fork_keeps_as_many_and_has_nothing():
    kept = Recent(2)
    kept.get("a", lambda: 1)
    fork = kept.fork()
    assert fork.get("a", lambda: 2) == 2
    for key in "bc":
        fork.get(key, lambda: 3)
    assert fork.get("a", lambda: 4) == 4
    assert fork.get("c", lambda: 5) == 3
    assert kept.get("a", lambda: 6) == 1
