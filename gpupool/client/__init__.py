"""The REST client and the `openstack gpu` commands."""
