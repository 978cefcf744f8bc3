"""Options of the REST API."""

from oslo_config import cfg

GROUP = "api"
OPTS = (
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=[
            ("keystone", "tokens, checked by keystonemiddleware"),
            (
                "noauth",
                "none: whoever reaches the port is administrator; for tests and trying. Answers only "
                "requests to localhost, a loopback address or the host of public_endpoint, and none "
                "that a web page of another site makes",
            ),
        ],
        help="Who is believed to be calling.",
    ),
    cfg.IntOpt("max_limit", default=1000, min=1, help="Most items in one page of a listing."),
    cfg.StrOpt("public_endpoint", help="URL prefix of links; unset: as the request was addressed."),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register this group on ``conf``."""
    conf.register_opts(OPTS, group=GROUP)
