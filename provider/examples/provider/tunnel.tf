# Through a tunnel

# ssh -N -L 127.0.0.1:19093:broker-1.example:9093 bastion.example
#
# The provider dials the addresses that are named here, whatever the brokers advertise. Their certificates have to carry
# server_name, since that name is not dialled.
provider "lockgate" {
  cluster           = "file:///var/lib/lockgate"
  bootstrap_servers = ["127.0.0.1:19093"]

  tls = {
    server_name = "broker-1.example"
  }
}
