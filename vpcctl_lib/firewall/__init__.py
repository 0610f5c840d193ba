"""The iptables rules of routers, of the host and of policies; pure."""
