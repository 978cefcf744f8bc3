"""Quotas by configuration: what a project may hold, and what it is told when that is not enough."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from oslo_context.context import RequestContext

from gpupool.conductor.claims import limits
from gpupool.db import claims
from gpupool.model import errors
from gpupool.model.claim import ClaimRequest
from gpupool.model.quota import LimitSource, Resource
from tests.functional.conductor.lab import PROJECT, Lab, new_conf

OTHER = RequestContext(project_id="project-2", user_id="user-2")


@pytest.fixture
def limited(database, placement):
    """Return what makes a lab with limits."""
    labs = []

    def make(**options):
        conf = new_conf()
        for name, value in options.items():
            conf.set_override(name, value, group="quota")
        labs.append(Lab(conf, database, placement.client()))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


def shown(lab, project=PROJECT):
    found = lab.client.show_quotas(lab.ctxt, project)
    assert {quota.project_id for quota in found} == {project}
    return {quota.resource: (quota.used, quota.limit) for quota in found}


def test_nothing_is_limited_unless_the_operator_says_so(lab):
    assert shown(lab) == dict.fromkeys(Resource, (0, -1))
    lab.create(count=2, compute=30, memory_mib=100)
    used = {"claims": 1, "vgpus": 2, "compute": 60, "memory_mib": 200}
    assert shown(lab) == {Resource(name): (value, -1) for name, value in used.items()}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"claims": 1}, "quota of claims: 1 asked, 1 used, 1 allowed"),
        ({"vgpus": 3}, "quota of vgpus: 2 asked, 2 used, 3 allowed"),
        ({"compute": 119}, "quota of compute: 60 % asked, 60 % used, 119 % allowed"),
        ({"memory_mib": 300}, "quota of memory_mib: 200 MiB asked, 200 MiB used, 300 MiB allowed"),
        (
            {"claims": 1, "compute": 119},
            "quota of claims: 1 asked, 1 used, 1 allowed; "
            "quota of compute: 60 % asked, 60 % used, 119 % allowed",
        ),
    ],
)
def test_more_than_the_limit_is_refused_with_the_figures(limited, options, said):
    lab = limited(**options)
    sizes = {"count": 2, "compute": 30, "memory_mib": 100}
    lab.create(**sizes)
    with pytest.raises(errors.OverQuota) as caught:
        lab.create(**sizes)
    assert caught.value.message == said
    with lab.database.reader() as session:
        assert len(claims.list_(session)) == 1


def test_the_last_room_may_be_taken(limited):
    lab = limited(claims=2, vgpus=4, compute=120, memory_mib=400)
    for _ in range(2):
        lab.create(count=2, compute=30, memory_mib=100)
    assert set(shown(lab).values()) == {(2, 2), (4, 4), (120, 120), (400, 400)}


def test_what_has_ended_counts_no_more(limited):
    lab = limited(claims=1)
    first = lab.create()
    with pytest.raises(errors.OverQuota):
        lab.create()
    lab.release(first)
    lab.create()


def test_a_project_may_have_other_limits(limited):
    lab = limited(claims=0, vgpus=1, projects=[f"{PROJECT} claims=2  vgpus=-1", "someone compute=7"])
    assert shown(lab)[Resource.CLAIMS] == (0, 2)
    assert shown(lab)[Resource.VGPUS] == (0, -1)
    lab.create(count=2)
    with pytest.raises(errors.OverQuota, match="1 asked, 0 used, 0 allowed"):
        lab.client.create_claim(OTHER, str(uuid.uuid4()), ClaimRequest(compute=1, memory_mib=1))
    assert shown(lab, "someone") == {
        Resource.CLAIMS: (0, 0),
        Resource.VGPUS: (0, 1),
        Resource.COMPUTE: (0, 7),
        Resource.MEMORY_MIB: (0, -1),
    }


def test_the_same_message_twice_counts_once(limited):
    lab = limited(claims=1)
    request = ClaimRequest(compute=10, memory_mib=10)
    claim_id = str(uuid.uuid4())
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: lab.client.create_claim(lab.ctxt, claim_id, request), range(4)))
    assert {claim.id for claim in made} == {claim_id}


def test_many_at_once_do_not_pass_together(limited):
    lab = limited(vgpus=3)

    def create(_):
        try:
            return lab.create(compute=1, memory_mib=1).id
        except errors.OverQuota:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [claim_id for claim_id in pool.map(create, range(12)) if claim_id]
    assert len(made) == 3
    assert shown(lab)[Resource.VGPUS] == (3, 3)


def listed(lab, after="", most=100):
    found = lab.client.list_quotas(lab.ctxt, after, most)
    assert [quota.resource for quota in found] == list(Resource) * (len(found) // len(Resource))
    assert {quota.source for quota in found} <= {LimitSource.CONFIGURATION}
    return [
        (quota.project_id, quota.used, quota.limit)
        for quota in found
        if quota.resource == Resource.COMPUTE
    ]


def test_projects_with_claims_or_limits_of_their_own_are_listed(limited):
    lab = limited(compute=90, projects=["idle compute=7", f"{PROJECT} claims=2"])
    lab.create(count=2, compute=30)
    ended = lab.client.create_claim(OTHER, str(uuid.uuid4()), ClaimRequest(compute=1, memory_mib=1))
    assert listed(lab) == [("idle", 0, 7), (PROJECT, 60, 90), (OTHER.project_id, 1, 90)]
    assert listed(lab, "idle") == [(PROJECT, 60, 90), (OTHER.project_id, 1, 90)]
    assert listed(lab, "idle", 1) == [(PROJECT, 60, 90)]
    assert listed(lab, OTHER.project_id) == []
    lab.release(ended)
    assert listed(lab) == [("idle", 0, 7), (PROJECT, 60, 90)]


@pytest.mark.parametrize(
    "text",
    ["", "blue", "blue claims", "blue claims=", "blue claims=many", "blue devices=1", "blue claims=-2"],
)
def test_limits_that_mean_nothing_are_named(text):
    conf = new_conf()
    conf.set_override("projects", ["green claims=1", text], group="quota")
    with pytest.raises(errors.Invalid, match=r"\[quota\] projects is '.*'; allowed: PROJECT_ID and one"):
        limits.from_conf(conf)
