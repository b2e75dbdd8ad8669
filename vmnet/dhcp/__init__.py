"""Speaks to the guest: from the pod's facts to a lease, from the lease to replies, from a request to an answer."""
