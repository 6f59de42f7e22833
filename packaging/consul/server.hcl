# /etc/consul.d/postfleet-server.hcl: for each of three Consul servers that a fleet's failover hangs on.

# The default suits small virtual machines and takes five times as long to notice that the leader is gone.
performance {
  raft_multiplier = 1
}

# Without this the two others throw a server out that was silent for some seconds, and have to take it in again when its
# host is back; until then a node on that host is away.
autopilot {
  min_quorum = 3
}
