"""A device that is left alone comes back: after its time, or as soon as its provider is written."""

from gpupool.conductor.scheduling.cooldown import Cooldown
from gpupool.model.reason import Reason


def test_a_device_is_offered_again_after_its_time_or_when_its_provider_was_written():
    cooldown, writes = Cooldown(), {"late": 1, "written": 1}
    for device_id, count in writes.items():
        cooldown.refuse(device_id, 5.0, count)
    writes["written"] += 1
    cooldown.expire(1.0, writes.__getitem__)
    assert cooldown.devices() == {"late"}
    cooldown.expire(5.0, writes.__getitem__)
    assert not cooldown.devices()


def test_what_placement_said_of_a_claim_is_forgotten_after_its_time():
    cooldown = Cooldown()
    cooldown.explain("claim", Reason("no room"), 5.0)
    cooldown.expire(4.9, lambda _: 0)
    assert cooldown.reasons() == {"claim": Reason("no room")}
    cooldown.expire(5.0, lambda _: 0)
    assert cooldown.reasons() == {}


def test_claims_that_could_not_grow_are_named_once_when_they_may():
    cooldown = Cooldown()
    cooldown.keep_full(["claim"], 5.0)
    assert cooldown.expire(4.9, lambda _: 0) == []
    assert cooldown.is_full("claim")
    assert cooldown.expire(5.0, lambda _: 0) == ["claim"]
    assert not cooldown.is_full("claim")
    assert cooldown.expire(6.0, lambda _: 0) == []
