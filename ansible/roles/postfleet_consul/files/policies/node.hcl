service "postfleet-node" {
  policy = "write"
}
service "smtp-out" {
  policy = "write"
}
# Where HAProxy finds it (consul.proxy_port).
service "smtp-out-proxy" {
  policy = "write"
}
# The node's own Connect certificate.
service "postfleet-node.mx1" {
  policy = "write"
}
# Who else is in the fleet, and what holds for all.
node_prefix "" {
  policy = "read"
}
key_prefix "postfleet/" {
  policy = "read"
}
# Which DKIM keys this node has, and whose turn it is to rotate. The session has the name of the host's agent.
key "postfleet/keys/mx1" {
  policy = "write"
}
key "postfleet/lock/rotation" {
  policy = "write"
}
session "mx1" {
  policy = "write"
}
