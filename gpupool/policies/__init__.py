"""Who may do what: the default rules, one file per noun, and the enforcer that applies them."""

import sys

from oslo_config import cfg
from oslo_policy import policy

from gpupool.policies import (
    attachments,
    base,
    claims,
    devices,
    hosts,
    pools,
    profiles,
    queue,
    quotas,
    services,
    sessions,
    usage,
    vgpus,
)

_NOUNS = (
    base,
    pools,
    hosts,
    devices,
    profiles,
    claims,
    vgpus,
    attachments,
    sessions,
    services,
    queue,
    quotas,
    usage,
)


def list_rules() -> list[policy.RuleDefault]:
    """Return every default rule, for oslopolicy-sample-generator."""
    return [rule for noun in _NOUNS for rule in noun.RULES]


def new_enforcer(conf: cfg.ConfigOpts) -> policy.Enforcer:
    """Return an enforcer of the defaults and of what ``[oslo_policy] policy_file`` changes of them."""
    enforcer = policy.Enforcer(conf)
    enforcer.register_defaults(list_rules())
    return enforcer


def get_enforcer() -> policy.Enforcer:
    """Return an enforcer for oslopolicy's own tools, whose command lines have other options too."""
    conf = cfg.ConfigOpts()
    known = ("--config-file", "--config-dir")
    args = sys.argv[1:]
    pairs = [args[at : at + 2] for at, arg in enumerate(args) if arg in known]
    conf([word for pair in pairs for word in pair], project="gpupool")
    return new_enforcer(conf)
