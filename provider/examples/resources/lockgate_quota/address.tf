# Connections from an address

resource "lockgate_quota" "each_address" {
  ip                       = "<default>"
  connection_creation_rate = 20 # per second
}
