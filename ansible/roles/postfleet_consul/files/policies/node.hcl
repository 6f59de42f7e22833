service "postfleet-node" {
  policy = "write"
}
service "smtp-out" {
  policy = "write"
}
# The node's own Connect certificate.
service "postfleet-node.mx1" {
  policy = "write"
}
