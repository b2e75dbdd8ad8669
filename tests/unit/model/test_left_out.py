"""What a reply had no room for, in words; a server's report of it may lie."""

from __future__ import annotations

import pytest

from vmnet.model.left_out import DHCPV4, DHCPV6, checked, sentences


def test_lists_are_told_in_part_and_other_options_not_at_all() -> None:
    left = {6: (2, 9), 121: (30, 60), 43: (0, 1), 119: (0, 20), 58: (0, 1)}
    assert sentences(left, DHCPV4) == [
        "name servers (option 6): the first 2 of 9 told",
        "routes (option 121): 30 of 60 told",
        "search domains (option 119): none of 20 told",
        "not told: option 43, 58",
    ]
    assert sentences({24: (1, 2)}, DHCPV6) == ["search domains (option 24): the first 1 of 2 told"]
    assert sentences({}, DHCPV4) == []


@pytest.mark.parametrize(
    "said",
    [
        *(None, [], "119", 7, {"119": None}, {"119": 9}, {"119": [9]}),
        *({"119": [9, 20, 1]}, {"119": ["9", 20]}, {"119": [20, 9]}, {"119": [9, 9]}, {"119": [-1, 9]}),
        *({"119": [0.5, 9]}, {"119": [True, 9]}, {"x": [1, 2]}, {"": [1, 2]}, {"-1": [1, 2]}),
        *({"\u0663": [1, 2]}, {"99999": [1, 2]}, {"6": [1, 10**30]}, {"9" * 5000: [1, 2]}),
    ],
)
def test_what_is_not_of_its_form_is_refused(said: object) -> None:
    with pytest.raises(ValueError, match="no "):
        checked(said)


def test_what_is_of_its_form_is_read() -> None:
    assert checked({"119": [9, 20], "6": [0, 3]}) == {119: (9, 20), 6: (0, 3)}
    assert checked({}) == {}
    with pytest.raises(ValueError, match="too many"):
        checked({str(code): [0, 1] for code in range(1000)})
