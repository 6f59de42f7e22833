service "postfleet-aggregator" {
  policy = "write"
}
service "postfleet-node" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
