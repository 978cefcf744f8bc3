"""Which waiting claim gets which devices, and when.

``pool_views`` keeps the allocator's views of all pools in memory, ``queue`` makes passes over the
waiting claims, ``batches`` binds what a pass decided, and ``capacity`` checks it again under the locks
of the hosts' rows.
"""
