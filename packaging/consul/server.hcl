# /etc/consul.d/postfleet-server.hcl: for each of three Consul servers that a fleet's failover hangs on.

# The default suits small virtual machines and takes five times as long to notice that the leader is gone.
performance {
  raft_multiplier = 1
}

# Without this the two others throw a server out that was silent for some seconds, and take it in again half a minute after
# it is back; a node on its host is away as long.
autopilot {
  min_quorum = 3
}
