service "postfleet-aggregator" {
  policy = "write"
}
service "postfleet-node" {
  policy = "read"
}
service "smtp-out" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
key_prefix "postfleet/" {
  policy = "read"
}
key "postfleet/settings" {
  policy = "write"
}
key_prefix "postfleet/forgotten/" {
  policy = "write"
}
