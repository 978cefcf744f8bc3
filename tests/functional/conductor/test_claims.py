"""The life of a claim, as its project sees it."""



from gpupool.model.states import ClaimState


def test_a_claim_binds_and_is_released(lab):
    agent = lab.agent()
    claim = lab.create(count=2)
    assert claim.state == ClaimState.QUEUED
    lab.serve()
    assert lab.claim(claim).state == ClaimState.BINDING
    lab.check_books()
    agent.look()
    claim = lab.claim(claim)
    assert claim.state == ClaimState.BOUND
    assert claim.bound_at is not None
    assert len(agent.vgpus) == 2
    lab.check_books([agent])
    assert lab.client.release_claim(lab.ctxt, claim.id).state == ClaimState.RELEASING
    assert len(lab.allocated()) == 2  # Until the host has let go.
    agent.look()
    claim = lab.claim(claim)
    assert claim.state == ClaimState.RELEASED
    assert claim.ended_at is not None
    assert not lab.allocated()
    assert not lab.vgpus()
