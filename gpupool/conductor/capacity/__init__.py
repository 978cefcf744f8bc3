"""What devices and hosts have left.

``snapshot`` reads it from the database, ``pool_views`` keeps it in memory as the allocator's views of
all pools, ``capacity`` checks it again under the locks of the hosts' rows, and ``holds`` decides which
hosts take nothing now.
"""
