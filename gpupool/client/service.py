"""``openstack gpu service ...``."""

from gpupool.client import base
from gpupool.client.columns import Column
from gpupool.client.rest import Item


class ListServices(base.ListCommand):
    """List the processes of the service: conductors, APIs and agents."""

    collection = "services"
    order = ("binary", "host")
    columns = (
        Column("binary", "Binary"),
        Column("host", "Host"),
        Column("state", "State"),
        Column("leader", "Leader"),
        Column("version", "Version"),
        Column("started_at", "Started", people=False),
        Column("last_seen_at", "Last seen"),
    )
    long_columns = (Column("id", "ID"),)
    filters = (
        base.Filter(
            "binary",
            "binary",
            "Only of this kind",
            ("gpupool-conductor", "gpupool-api", "gpupool-agent"),
        ),
        base.Filter("host", "host", "Only on this host"),
        base.Filter("state", "state", "Only in this state", ("up", "down")),
    )

    def row(self, item: Item) -> Item:
        """Return the service; of those that never lead it is not told that they do not."""
        return item if item.get("binary") == "gpupool-conductor" else {**item, "leader": None}
