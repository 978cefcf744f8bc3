"""Claims from request to end: validation, quota, binding, resizing, leases, attachments, release.

``lifecycle`` is where a request enters. ``binding`` brings a queued claim to ``bound``, ``releasing`` is
the one way by which vGPUs are taken from a claim; everything else decides when one of the two is due.
"""
