"""The pool controller: queue, allocation, desired state, reconciler."""
