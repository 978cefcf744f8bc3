"""Which waiting claim gets which devices, and when.

``queue`` makes passes over the waiting claims, ``batches`` binds what a pass decided, ``waiting`` tells
claims why they wait, and ``defragmenting`` moves vGPUs so that more claims fit.
"""
